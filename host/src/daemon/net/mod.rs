//! The gateway: the guest's IP packets become ordinary sockets of this computer.
