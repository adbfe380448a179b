//! Parses, runs, returns an exit code.

/// Many small, short-lived allocations per request: an eighth of the time goes there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    airlock::cli::main()
}
