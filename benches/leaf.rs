//! Minting a leaf, and finding one in the cache: what an intercepted connection pays.

#![allow(
    clippy::expect_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]

use std::{hint::black_box, sync::Arc};

use airlock::{
    metrics::Metrics,
    tls::{LeafCache, LeafMinter, RootCa, install_provider},
};
use criterion::{Criterion, criterion_group, criterion_main};

fn leaf(c: &mut Criterion) {
    install_provider();
    let dir = tempfile::tempdir().expect("a scratch folder");
    let (root, _) = RootCa::load_or_create(dir.path(), &["allowed.test"]).expect("a root CA");
    let root = Arc::new(root);
    let minter = LeafMinter::new(root.clone()).expect("a leaf key");
    c.bench_function("leaf/mint", |b| {
        b.iter(|| minter.mint(black_box("a.allowed.test"), time::OffsetDateTime::now_utc()));
    });
    let cache = LeafCache::new(root, 64, Arc::new(Metrics::new())).expect("a leaf cache");
    c.bench_function("leaf/cached", |b| {
        b.iter(|| cache.server_config(black_box("a.allowed.test")));
    });
}

criterion_group!(benches, leaf);
criterion_main!(benches);
