//! `bare_pingora` with airlock's allocator: tells what the allocator alone is worth.

#[path = "bare_pingora.rs"]
mod bare_pingora;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    bare_pingora::main();
}
