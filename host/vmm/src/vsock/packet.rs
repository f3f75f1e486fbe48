//! The header in front of every packet (virtio 1.2, 5.10.6). Little-endian, 44 bytes, payload behind it.

/// Bytes of a header.
pub(crate) const HEADER_SIZE: usize = 44;
/// The host's address. The guest's is up to the host.
pub(crate) const HOST_CID: u64 = 2;
/// The longest payload a packet of ours or of Linux has.
pub(crate) const LONGEST_PAYLOAD: u32 = 64 << 10;
/// SHUTDOWN: the sender will receive no more.
pub(super) const SHUTDOWN_RECEIVE: u32 = 1;
/// SHUTDOWN: the sender will send no more.
pub(super) const SHUTDOWN_SEND: u32 = 2;
/// The kind of socket that is offered: a stream.
const STREAM: u16 = 1;

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Request,
    Response,
    Reset,
    Shutdown,
    Payload,
    CreditUpdate,
    CreditRequest,
    /// A number that the specification does not have.
    Unknown(u16),
}

impl From<u16> for Operation {
    fn from(number: u16) -> Self {
        match number {
            1 => Self::Request,
            2 => Self::Response,
            3 => Self::Reset,
            4 => Self::Shutdown,
            5 => Self::Payload,
            6 => Self::CreditUpdate,
            7 => Self::CreditRequest,
            other => Self::Unknown(other),
        }
    }
}

impl From<Operation> for u16 {
    fn from(operation: Operation) -> u16 {
        match operation {
            Operation::Request => 1,
            Operation::Response => 2,
            Operation::Reset => 3,
            Operation::Shutdown => 4,
            Operation::Payload => 5,
            Operation::CreditUpdate => 6,
            Operation::CreditRequest => 7,
            Operation::Unknown(other) => other,
        }
    }
}

/// `struct virtio_vsock_hdr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) source_cid: u64,
    pub(crate) destination_cid: u64,
    pub(crate) source_port: u32,
    pub(crate) destination_port: u32,
    /// Bytes of payload behind the header.
    pub(crate) length: u32,
    /// Stream or seqpacket.
    pub(crate) kind: u16,
    pub(crate) operation: Operation,
    pub(crate) flags: u32,
    /// Bytes the sender has room for, on this connection, in all.
    pub(crate) window: u32,
    /// Bytes the sender has taken out of that room so far, wrapping.
    pub(crate) forwarded: u32,
}

impl Header {
    /// One of the host's, without payload, flags and credit.
    pub(super) fn from_host(ports: Ports, guest_cid: u64, operation: Operation) -> Self {
        Self {
            source_cid: HOST_CID,
            destination_cid: guest_cid,
            source_port: ports.host,
            destination_port: ports.guest,
            length: 0,
            kind: STREAM,
            operation,
            flags: 0,
            window: 0,
            forwarded: 0,
        }
    }

    /// The refusal of this packet, which came from the guest.
    pub(super) fn refusal(&self) -> Self {
        Self { kind: self.kind, ..Self::from_host(self.ports(), self.source_cid, Operation::Reset) }
    }

    /// The connection of a packet that came from the guest.
    pub(super) fn ports(&self) -> Ports {
        Ports { host: self.destination_port, guest: self.source_port }
    }

    pub(super) fn is_stream(&self) -> bool {
        self.kind == STREAM
    }

    pub(crate) fn parse(bytes: &[u8; HEADER_SIZE]) -> Self {
        let mut fields = Fields(bytes);
        Self {
            source_cid: u64::from_le_bytes(fields.take()),
            destination_cid: u64::from_le_bytes(fields.take()),
            source_port: u32::from_le_bytes(fields.take()),
            destination_port: u32::from_le_bytes(fields.take()),
            length: u32::from_le_bytes(fields.take()),
            kind: u16::from_le_bytes(fields.take()),
            operation: u16::from_le_bytes(fields.take()).into(),
            flags: u32::from_le_bytes(fields.take()),
            window: u32::from_le_bytes(fields.take()),
            forwarded: u32::from_le_bytes(fields.take()),
        }
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        bytes[0..8].copy_from_slice(&self.source_cid.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.destination_cid.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.source_port.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.destination_port.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.length.to_le_bytes());
        bytes[28..30].copy_from_slice(&self.kind.to_le_bytes());
        bytes[30..32].copy_from_slice(&u16::from(self.operation).to_le_bytes());
        bytes[32..36].copy_from_slice(&self.flags.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.window.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.forwarded.to_le_bytes());
        bytes
    }
}

/// Takes fields off the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("the fields add up to the header's size");
        self.0 = rest;
        *field
    }
}

/// What tells connections apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ports {
    pub(crate) host: u32,
    pub(crate) guest: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_specification_has_them() {
        let header = Header {
            source_cid: 0x0102_0304_0506_0708,
            destination_cid: 2,
            source_port: 0x1112_1314,
            destination_port: 0x2122_2324,
            length: 0x3132_3334,
            kind: 1,
            operation: Operation::Payload,
            flags: 3,
            window: 0x4142_4344,
            forwarded: 0x5152_5354,
        };
        let bytes = header.encode();
        assert_eq!(bytes[..8], [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(bytes[24..32], [0x34, 0x33, 0x32, 0x31, 1, 0, 5, 0]);
        assert_eq!(bytes[40..], [0x54, 0x53, 0x52, 0x51]);
        assert_eq!(Header::parse(&bytes), header);
    }

    #[test]
    fn a_refusal_goes_back_where_the_packet_came_from() {
        let ports = Ports { host: 7, guest: 9 };
        let from_guest = Header {
            source_cid: 3,
            destination_cid: HOST_CID,
            source_port: 9,
            destination_port: 7,
            ..Header::from_host(ports, 3, Operation::Request)
        };
        let refusal = from_guest.refusal();
        assert_eq!((refusal.destination_cid, refusal.destination_port), (3, 9));
        assert_eq!((refusal.source_cid, refusal.source_port), (2, 7));
        assert_eq!(refusal.operation, Operation::Reset);
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn every_header_is_written_as_it_was_read() {
        bolero::check!().with_type::<([u8; 32], [u8; 12])>().for_each(|(front, back)| {
            let mut bytes = [0; HEADER_SIZE];
            bytes[..32].copy_from_slice(front);
            bytes[32..].copy_from_slice(back);
            assert_eq!(Header::parse(&bytes).encode(), bytes);
        });
    }
}
