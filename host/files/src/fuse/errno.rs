//! Errors as the guest numbers them: Linux's, whatever the host.

/// An error number of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    pub(crate) const PERM: Errno = Errno(1);
    pub(crate) const NOENT: Errno = Errno(2);
    pub(crate) const INTR: Errno = Errno(4);
    pub(crate) const IO: Errno = Errno(5);
    pub(crate) const BADF: Errno = Errno(9);
    pub(crate) const AGAIN: Errno = Errno(11);
    pub(crate) const ACCES: Errno = Errno(13);
    pub(crate) const EXIST: Errno = Errno(17);
    pub(crate) const NOTDIR: Errno = Errno(20);
    pub(crate) const ISDIR: Errno = Errno(21);
    pub(crate) const INVAL: Errno = Errno(22);
    pub(crate) const NFILE: Errno = Errno(23);
    pub(crate) const NOTTY: Errno = Errno(25);
    pub(crate) const ROFS: Errno = Errno(30);
    pub(crate) const RANGE: Errno = Errno(34);
    pub(crate) const NAMETOOLONG: Errno = Errno(36);
    pub(crate) const NOLCK: Errno = Errno(37);
    pub(crate) const NOSYS: Errno = Errno(38);
    pub(crate) const LOOP: Errno = Errno(40);
    pub(crate) const NODATA: Errno = Errno(61);
    pub(crate) const PROTO: Errno = Errno(71);
    pub(crate) const OPNOTSUPP: Errno = Errno(95);
    pub(crate) const STALE: Errno = Errno(116);
}

/// What an operation of the server gives.
pub(crate) type Outcome<T> = Result<T, Errno>;
