//! The fuzz targets inside `cargo test`: their committed corpora, and mutations of these with a
//! fixed seed, so that every run tries the same inputs. The long way is `just fuzz`.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use crate::support::Dice;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// Mutated inputs per target; `AIRLOCK_FUZZ_RUNS` asks for more.
const RUNS: usize = 2000;
const MAX_INPUT: usize = 8 << 10;
const MAX_CORPORA: u64 = 300 << 10;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = corpora().join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&dir)
        .unwrap_or_else(|e| panic!("{} has no corpus: {e}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    // In the order of names, whatever the file system's is.
    files.sort();
    files.iter().map(|f| std::fs::read(f).unwrap()).collect()
}

/// Bytes that parsers trip over.
const MORSELS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\x0c",
    b"%2f",
    b"%",
    b"//",
    b"/../",
    b"..;",
    b"\"",
    b"\\",
    b":",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b"@",
    b"*",
    b" ",
    b"\t",
    b"data: ",
    b"null",
    b"-1",
    b"0",
    b"18446744073709551616",
    b"xn--",
    b"\xef\xbb\xbf",
    b"\xc0\xaf",
    b"\xff",
    b"Host: a\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"<think>",
    b"</think>",
    b"'",
    b"#",
    b"&a",
    b"!!str ",
    b"https://vendor.test",
    b"<script type=importmap>",
    b"</script>",
];

fn mutate(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut input = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(input.len() + 1);
        match dice.below(6) {
            0 if at < input.len() => input[at] ^= 1 << dice.below(8),
            1 if at < input.len() => {
                let end = (at + 1 + dice.below(8)).min(input.len());
                input.drain(at..end);
            }
            2 => {
                let end = (at + dice.below(32)).min(input.len());
                let copy = input[at..end].to_vec();
                let to = dice.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            3 => {
                let other = &seeds[dice.below(seeds.len())];
                let tail = other[dice.below(other.len() + 1)..].to_vec();
                input.truncate(at);
                input.extend(tail);
            }
            4 => input.insert(at, u8::try_from(dice.below(256)).unwrap()),
            _ => {
                let morsel = MORSELS[dice.below(MORSELS.len())];
                input.splice(at..at, morsel.iter().copied());
            }
        }
    }
    input.truncate(MAX_INPUT);
    input
}

fn run(target: &str, run: targets::Run) {
    let runs = std::env::var("AIRLOCK_FUZZ_RUNS")
        .map_or(RUNS, |n| n.parse().expect("AIRLOCK_FUZZ_RUNS is a number"));
    let seeds = corpus(target);
    assert!(!seeds.is_empty(), "{target} has an empty corpus");
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mutated = std::iter::repeat_with(|| mutate(&seeds, &mut dice)).take(runs);
    for input in seeds.iter().cloned().chain(mutated) {
        if catch_unwind(AssertUnwindSafe(|| run(&input))).is_err() {
            panic!("{target} fails for b\"{}\"", input.escape_ascii());
        }
    }
}

/// Of a lock file: names with versions, and what the entry of our own package names.
fn locked(text: &str) -> (BTreeSet<(&str, &str)>, BTreeSet<&str>) {
    let (mut packages, mut ours) = (BTreeSet::new(), BTreeSet::new());
    for entry in text.split("[[package]]").skip(1) {
        let field = |key: &str| {
            let line = entry.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_default().trim_matches([' ', '=', '"'])
        };
        packages.insert((field("name"), field("version")));
        if field("name") == env!("CARGO_PKG_NAME") {
            let named = entry.lines().filter_map(|l| l.trim().strip_prefix('"'));
            ours.extend(named.filter_map(|l| l.split(['"', ' ']).next()));
        }
    }
    (packages, ours)
}

/// `just fuzz` is to try what is built, and to begin without a word of the network.
#[test]
fn the_lock_file_of_libfuzzers_workspace_names_what_ours_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let (lock, fuzz, manifest) = (
        read("Cargo.lock"),
        read("fuzz/Cargo.lock"),
        read("Cargo.toml"),
    );
    let ((packages, ours), (theirs, seen)) = (locked(&lock), locked(&fuzz));
    let foreign: Vec<_> = theirs
        .difference(&packages)
        .map(|(name, _)| *name)
        .filter(|name| !["arbitrary", "comfy-airlock-fuzz", "libfuzzer-sys"].contains(name))
        .collect();
    assert!(
        foreign.is_empty(),
        "other versions in fuzz/Cargo.lock: {foreign:?}"
    );
    let dev = manifest.split("[dev-dependencies]").nth(1).unwrap();
    let dev = dev.split("\n[").next().unwrap();
    let only_for_tests = |name: &str| dev.contains(&format!("\n{name} = "));
    let missing: Vec<_> = ours
        .iter()
        .filter(|name| !seen.contains(*name) && !only_for_tests(name))
        .collect();
    assert!(
        !seen.is_empty() && missing.is_empty(),
        "not in fuzz/Cargo.lock: {missing:?}"
    );
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name), targets::$name);
        })*

        #[test]
        fn every_target_is_run_here_and_by_libfuzzer_and_corpora_are_small() {
            let here = BTreeSet::from([$(stringify!($name)),*]);
            let listed: BTreeSet<_> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(here, listed);
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
            let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
            for name in here {
                let main = std::fs::read_to_string(root.join(format!("fuzz_targets/{name}.rs"))).unwrap();
                assert!(main.contains(&format!("::{name}(data)")), "{name}");
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            }
            let mut size = 0;
            for dir in std::fs::read_dir(corpora()).unwrap() {
                for file in std::fs::read_dir(dir.unwrap().path()).unwrap() {
                    size += file.unwrap().metadata().unwrap().len();
                }
            }
            assert!(size <= MAX_CORPORA, "{size} bytes of corpora");
        }
    };
}

targets! {
    authority request_head client_hello address_text path config sse_stream json_rpc multipart
    json_edit learn_line page_rewrite csp_report token catalogue chat_answer
    workflow
}
