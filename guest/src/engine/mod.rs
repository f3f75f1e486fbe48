//! What the daemon knows and decides: containers, their states, events. Introduces the parts to each other.
