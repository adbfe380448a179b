//! Parses, runs, returns an exit code.

/// Who asks for a first token has not asked for a while: what was freed last must be what is given out
/// next, while it is still in the cache (docs/adr/0014).
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    airlock::cli::main()
}
