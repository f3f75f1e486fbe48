//! `--sysctl`: only kernel settings that belong to a namespace.

/// Name and value.
pub(crate) fn sysctl(text: &str) -> Result<(String, String), String> {
    const ALLOWED: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    match text.split_once('=') {
        Some((name, value))
            if ALLOWED.contains(&name) || name.starts_with("net.") || name.starts_with("fs.mqueue.") =>
        {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(format!("sysctl '{text}' is not allowed")),
    }
}
