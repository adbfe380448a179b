//! One decision, with 10 rules and with 10,000 and 100,000: the index must make them alike. Then the
//! same where every rule makes demands (terms), which must stay under a microsecond, too.

#![allow(
    clippy::expect_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]

use std::{hint::black_box, net::IpAddr};

use airlock::{
    config::compile,
    net::{Authority, Entry},
    policy::{CompiledPolicy, Flow, RequestFacts, RequestSize},
};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

/// `terms`: what each rule demands, as YAML.
fn policy(rules: usize, terms: &str) -> std::sync::Arc<CompiledPolicy> {
    let mut yaml = String::from("version: 1\nstate_dir: /tmp/airlock-bench\nrules:\n");
    for n in 0..rules {
        // Names whose TLS is opened fit into a root certificate by the hundred only; the policy
        // itself knows no such bound.
        let host = if n.is_multiple_of(2) {
            format!("h{n}.allowed.test")
        } else {
            format!("'*.w{n}.test'")
        };
        yaml.push_str(&format!(
            "  - {{name: r{n}, hosts: [{host}], methods: [GET], paths: ['/v1/*'], {terms}action: forward}}\n"
        ));
    }
    compile(&yaml, "bench", ".".into(), &Default::default())
        .expect("bench rules are valid")
        .policy
}

/// Every kind of demand that is judged with the decision; the end is far.
const TERMS: &str = "until: 2099-01-01T00:00:00Z, read_only: true, max_query_bytes: 1KiB, \
                     max_header_bytes: 8KiB, budget: {bytes: 1MiB, per: hour}, ";

fn terms(c: &mut Criterion) {
    let now = time::OffsetDateTime::now_utc();
    let mut group = c.benchmark_group("decide_request_with_terms");
    for rules in [10, 10_000, 100_000] {
        let policy = policy(rules, TERMS);
        let last = rules - 2;
        for (name, host, query_bytes) in [
            ("within", format!("h{last}.allowed.test:443"), 100),
            ("beyond", format!("h{last}.allowed.test:443"), 2000),
            ("wildcard", format!("a.b.w{}.test:443", last + 1), 100),
            ("unknown", "nobody.example.org:443".to_owned(), 100),
        ] {
            let authority = Authority::parse(&host, None).expect("bench authority is valid");
            let facts = RequestFacts {
                entry: Entry::Explicit,
                client: [127, 0, 0, 1].into(),
                authority: &authority,
                method: "GET",
                path: "/v1/models",
                upgrade: false,
                size: RequestSize {
                    query_bytes,
                    header_bytes: 400,
                    has_body: false,
                },
            };
            group.bench_function(BenchmarkId::new(name, rules), |b| {
                b.iter(|| policy.decide_request(black_box(&facts), now));
            });
        }
    }
    group.finish();
}

fn decide(c: &mut Criterion) {
    let now = time::OffsetDateTime::now_utc();
    let client: IpAddr = [127, 0, 0, 1].into();
    let mut group = c.benchmark_group("decide_request");
    for rules in [10, 10_000, 100_000] {
        let policy = policy(rules, "");
        let last = rules - 2;
        for (name, authority) in [
            ("exact", format!("h{last}.allowed.test:443")),
            ("wildcard", format!("a.b.w{}.test:443", last + 1)),
            ("unknown", "nobody.example.org:443".to_owned()),
        ] {
            let authority = Authority::parse(&authority, None).expect("bench authority is valid");
            let facts = RequestFacts {
                entry: Entry::Explicit,
                client,
                authority: &authority,
                method: "GET",
                path: "/v1/models",
                upgrade: false,
                size: RequestSize::default(),
            };
            group.bench_function(BenchmarkId::new(name, rules), |b| {
                b.iter(|| policy.decide_request(black_box(&facts), now));
            });
        }
    }
    group.finish();

    let policy = policy(10_000, "");
    let authority = Authority::parse("h9998.allowed.test:443", None).expect("valid");
    let flow = Flow {
        entry: Entry::Explicit,
        client,
        authority: &authority,
    };
    c.bench_function("decide_connection/10000", |b| {
        b.iter(|| policy.decide_connection(black_box(&flow), now));
    });
}

fn authority(c: &mut Criterion) {
    c.bench_function("authority/parse", |b| {
        b.iter(|| Authority::parse(black_box("comfyui-copilot-server.onrender.com:443"), None));
    });
}

criterion_group!(benches, decide, terms, authority);
criterion_main!(benches);
