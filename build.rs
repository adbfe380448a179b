//! Has the linker lay side by side what requests run through, and what the start does (`src/link_order.ld`,
//! ADR 0014): a first token that finds cold caches is a tenth sooner there, and fewer pages are in memory.
//! Debug builds and other linkers go without.

use std::{env::var, fs, io, path::Path};

const SCRIPT: &str = "src/link_order.ld";

#[allow(
    clippy::disallowed_methods,
    reason = "Cargo speaks to a build script by its environment"
)]
fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed={SCRIPT}");
    println!("cargo:rerun-if-env-changed=AIRLOCK_LINK_ORDER");
    let is = |name: &str, wanted: &[&str]| var(name).is_ok_and(|v| wanted.contains(&v.as_str()));
    // Those of GNU and LLVM know `INSERT`; mold does not. A linker of the user's own is not ours to guess.
    let flags = var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let own_linker = var("RUSTC_LINKER").is_ok()
        || flags
            .split('\x1f')
            .any(|flag| flag.contains("fuse-ld=") || flag.contains("linker"));
    let wanted = is("PROFILE", &["release"])
        && is("CARGO_CFG_TARGET_OS", &["linux"])
        && !own_linker
        && !is("AIRLOCK_LINK_ORDER", &["off"]);
    // A copy beside what is built: a build directory may outlive the checkout that filled it.
    if wanted && let Ok(out) = var("OUT_DIR").map(|dir| Path::new(&dir).join("link_order.ld")) {
        fs::copy(SCRIPT, &out)?;
        println!("cargo:rustc-link-arg-bin=airlock=-Xlinker");
        println!(
            "cargo:rustc-link-arg-bin=airlock=--script={}",
            out.display()
        );
    }
    Ok(())
}
