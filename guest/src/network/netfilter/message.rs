//! Messages of nf_tables (linux/netfilter/nf_tables.h), as far as our rules need them. A batch of them is one
//! transaction: the kernel takes all or none.

/// Attributes, one after the other, each padded to four bytes (netlink(7)).
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    /// Bytes.
    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        // All of our values are names, addresses and lists of these; the longest list is of a few interfaces.
        let length = u16::try_from(value.len() + HEADER).expect("an attribute of ours has less than 64 KiB");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// A number, big-endian as all of nf_tables' are.
    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// A text with the NUL that the kernel wants.
    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), b"\0"].concat())
    }

    /// Attributes inside an attribute.
    pub(super) fn nested(self, kind: u16, inner: &Attributes) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }

    /// A list, whose elements all have the same kind.
    pub(super) fn list<'a>(self, kind: u16, elements: impl IntoIterator<Item = &'a Attributes>) -> Self {
        let inner =
            elements.into_iter().fold(Attributes::default(), |all, one| all.nested(LIST_ELEMENT, one));
        self.nested(kind, &inner)
    }
}

const HEADER: usize = 4;
/// `NLA_F_NESTED`
const NESTED: u16 = 1 << 15;
/// `NFTA_LIST_ELEM`
const LIST_ELEMENT: u16 = 1;
/// `NFTA_DATA_VALUE`
const DATA_VALUE: u16 = 1;

/// What a message does (`enum nf_tables_msg_types`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    NewTable = 0,
    DeleteTable = 2,
    NewChain = 3,
    NewRule = 6,
    NewSet = 9,
    NewElements = 12,
    DeleteElements = 14,
}

/// Whose packets (`NFPROTO_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packets {
    /// IPv4 and IPv6.
    Both = 1,
    V4 = 2,
}

/// Messages that hold together.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
}

/// `NFNL_SUBSYS_NFTABLES`
const NF_TABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

impl Batch {
    pub(super) fn new() -> Self {
        let mut batch = Self { bytes: Vec::new(), sequence: 0 };
        batch.push(BATCH_BEGIN, libc::NLM_F_REQUEST, 0, NF_TABLES, &Attributes::default());
        batch
    }

    /// One more thing to do.
    pub(super) fn add(&mut self, verb: Verb, packets: Packets, attributes: &Attributes) {
        let flags = match verb {
            Verb::DeleteTable | Verb::DeleteElements => libc::NLM_F_REQUEST,
            Verb::NewRule => libc::NLM_F_REQUEST | libc::NLM_F_CREATE | libc::NLM_F_APPEND,
            _ => libc::NLM_F_REQUEST | libc::NLM_F_CREATE,
        } | libc::NLM_F_ACK;
        self.push(NF_TABLES << 8 | verb as u16, flags, packets as u8, 0, attributes);
    }

    /// How many are answered, each by its own acknowledgement or refusal.
    pub(super) fn answers(&self) -> u32 {
        self.sequence - 1
    }

    /// What the kernel reads.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.push(BATCH_END, libc::NLM_F_REQUEST, 0, NF_TABLES, &Attributes::default());
        self.bytes
    }

    fn push(&mut self, kind: u16, flags: i32, family: u8, resource: u16, attributes: &Attributes) {
        let length = u32::try_from(NETLINK_HEADER + 4 + attributes.0.len()).expect("attributes are short");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        // To the kernel.
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        // `struct nfgenmsg`
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        self.bytes.extend_from_slice(&attributes.0);
        self.sequence += 1;
    }
}

/// `struct nlmsghdr`
pub(super) const NETLINK_HEADER: usize = 16;

/// The answers in what the kernel sent: each message's error number, 0 for an acknowledgement.
pub(super) fn answers(mut bytes: &[u8]) -> Vec<i32> {
    let mut all = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<NETLINK_HEADER>() {
        let [a, b, c, d, e, f, ..] = *header;
        let length = u32::from_ne_bytes([a, b, c, d]) as usize;
        let Some(body) = length.checked_sub(NETLINK_HEADER).and_then(|length| rest.get(..length)) else {
            break;
        };
        if i32::from(u16::from_ne_bytes([e, f])) == libc::NLMSG_ERROR
            && let Some(code) = body.first_chunk()
        {
            all.push(i32::from_ne_bytes(*code).saturating_neg());
        }
        bytes = rest.get(body.len().next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

/// A register that holds 16 bytes or less. Wider values take the following ones too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Register(u32);

/// `NFT_REG32_00`, and the one 16 bytes further.
pub(super) const FIRST: Register = Register(8);
pub(super) const SECOND: Register = Register(12);

/// A step of a rule.
pub(super) fn expression(name: &str, data: &Attributes) -> Attributes {
    Attributes::default().text(1, name).nested(2, data)
}

/// What is known of a packet beside its bytes (`enum nft_meta_keys`).
#[derive(Clone, Copy, Debug)]
pub(super) enum Meta {
    InputName = 6,
    OutputName = 7,
    Protocol = 16,
}

/// Loads it.
pub(super) fn meta(key: Meta, to: Register) -> Attributes {
    expression("meta", &Attributes::default().number(1, to.0).number(2, key as u32))
}

/// A part of a packet's headers (`enum nft_payload_bases`).
#[derive(Clone, Copy, Debug)]
pub(super) enum Header {
    Network = 1,
    Transport = 2,
}

/// Loads it.
pub(super) fn payload(header: Header, offset: u32, length: u32, to: Register) -> Attributes {
    let data = Attributes::default().number(1, to.0).number(2, header as u32);
    expression("payload", &data.number(3, offset).number(4, length))
}

/// Goes on only where the register holds this.
pub(super) fn equals(register: Register, value: &[u8]) -> Attributes {
    let data = Attributes::default().number(1, register.0).number(2, 0);
    expression("cmp", &data.nested(3, &Attributes::default().bytes(DATA_VALUE, value)))
}

/// Goes on only where the set has what the register holds.
pub(super) fn is_in(set: &str, register: Register) -> Attributes {
    expression("lookup", &Attributes::default().text(1, set).number(2, register.0))
}

/// Loads a value.
pub(super) fn immediate(register: Register, value: &[u8]) -> Attributes {
    let value = Attributes::default().bytes(DATA_VALUE, value);
    expression("immediate", &Attributes::default().number(1, register.0).nested(2, &value))
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict {
    Drop = 0,
    Accept = 1,
}

/// Ends the rule.
pub(super) fn verdict(verdict: Verdict) -> Attributes {
    let code = Attributes::default().nested(2, &Attributes::default().number(1, verdict as u32));
    expression("immediate", &Attributes::default().number(1, 0).nested(2, &code))
}

/// Gives an IPv4 packet another destination, whose address and port two registers hold.
pub(super) fn destination(address: Register, port: Register) -> Attributes {
    const DNAT: u32 = 1;
    let data = Attributes::default().number(1, DNAT).number(2, Packets::V4 as u32);
    expression("nat", &data.number(3, address.0).number(5, port.0))
}

/// An element of a set.
pub(super) fn element(key: &[u8]) -> Attributes {
    Attributes::default().nested(1, &Attributes::default().bytes(DATA_VALUE, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_their_lengths_are_not() {
        let attributes = Attributes::default().text(1, "ab").number(2, 1);
        let mut expected = Vec::new();
        expected.extend_from_slice(&7u16.to_ne_bytes());
        expected.extend_from_slice(&1u16.to_ne_bytes());
        expected.extend_from_slice(b"ab\0\0");
        expected.extend_from_slice(&8u16.to_ne_bytes());
        expected.extend_from_slice(&2u16.to_ne_bytes());
        expected.extend_from_slice(&[0, 0, 0, 1]);
        assert_eq!(attributes.0, expected);
    }

    #[test]
    fn answers_are_read_to_the_first_that_is_cut_off() {
        let mut bytes = Vec::new();
        for code in [0i32, -libc::EEXIST] {
            bytes.extend_from_slice(&20u32.to_ne_bytes());
            bytes.extend_from_slice(&(libc::NLMSG_ERROR as u16).to_ne_bytes());
            bytes.extend_from_slice(&[0; 10]);
            bytes.extend_from_slice(&code.to_ne_bytes());
        }
        assert_eq!(answers(&bytes), [0, libc::EEXIST]);
        assert_eq!(answers(&bytes[..30]), [0]);
        assert!(answers(&[0; 16]).is_empty());
    }
}
