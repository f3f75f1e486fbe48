//! A registry with `hello-world` and `busybox` for the demo and for trying things out: prints its address, and
//! runs until its input ends.

use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result};
use holm_tests::registry::Registry;
use holm_tests::samples;

fn main() -> Result<()> {
    let programs =
        std::env::current_exe()?.parent().map(PathBuf::from).context("a program is in a folder")?;
    let registry = Registry::start()?;
    for (name, image) in
        [("hello-world", samples::hello_world(&programs.join("hello"))?), ("busybox", samples::busybox()?)]
    {
        registry.push_index(&format!("library/{name}"), "latest", &samples::for_two_platforms(image)?)?;
    }
    println!("{}", registry.url());
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}
