//! Bridges, addresses and filter rules inside the machine.
