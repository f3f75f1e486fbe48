//! Boots the machine and keeps it: boot steps, the link, the engine's life, reaping, power-off.
