//! Many paths into few patterns: exact while they are few, folders where they are many.

use std::collections::BTreeMap;

use crate::policy::PathPattern;

/// Paths that one rule lists before folders stand for them.
const FEW: usize = 8;
/// Paths that make a folder worth standing for them.
const SHARED: usize = 4;

/// One path as it was seen, and whether it is a folder already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeenPath {
    pub path: String,
    pub below: bool,
}

/// What came out, and whether it allows more than was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Patterns {
    /// Canonical, sorted, none inside another.
    pub patterns: Vec<PathPattern>,
    /// Folders that stand for several paths.
    pub widened: bool,
    /// A path that was cut in the log, or that no pattern can say: its folder stands for it.
    pub cut: bool,
    /// Paths that no pattern can be written for.
    pub unwritable: u64,
}

/// The log cuts paths at this many bytes.
const CUT: usize = 256;

pub(super) fn generalise(seen: &[SeenPath]) -> Patterns {
    let mut out = Patterns::default();
    let mut exact: Vec<String> = Vec::new();
    let mut below: Vec<String> = Vec::new();
    for SeenPath {
        path,
        below: folder,
    } in seen
    {
        if *folder {
            out.widened = true;
            below.push(path.clone());
        } else if path.len() < CUT && matches!(PathPattern::parse(path), Ok(PathPattern::Exact(_)))
        {
            exact.push(path.clone());
        } else {
            out.cut = true;
            below.push(folder_of(path.split('*').next().unwrap_or_default()).to_owned());
        }
    }
    exact.sort();
    exact.dedup();
    keep_outermost(&mut below, &mut exact);
    while exact.len() + below.len() > FEW {
        let folder = widest(&exact, &below);
        out.widened = true;
        below.push(folder);
        keep_outermost(&mut below, &mut exact);
    }
    let texts = exact
        .into_iter()
        .chain(below.iter().map(|b| format!("{b}*")));
    for text in texts {
        match PathPattern::parse(&text) {
            Ok(pattern) => out.patterns.push(pattern),
            Err(_) => out.unwritable += 1,
        }
    }
    out
}

/// Everything up to the last slash.
fn folder_of(path: &str) -> &str {
    let end = path.rfind('/').map_or(0, |at| at + 1);
    path.get(..end).filter(|f| !f.is_empty()).unwrap_or("/")
}

/// The deepest folder that holds at least [`SHARED`] patterns, then two, else the root.
fn widest(exact: &[String], below: &[String]) -> String {
    let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
    for path in exact.iter().chain(below) {
        let inner = path.strip_suffix('/').filter(|_| below.contains(path));
        let inner = inner.unwrap_or(path);
        for (at, _) in inner.match_indices('/').skip(1) {
            if let Some(folder) = inner.get(..=at) {
                *folders.entry(folder).or_default() += 1;
            }
        }
    }
    let deepest = |least: usize| {
        folders
            .iter()
            .filter(|(_, n)| **n >= least)
            .max_by_key(|(folder, n)| (folder.matches('/').count(), **n))
            .map(|(folder, _)| (*folder).to_owned())
    };
    deepest(SHARED)
        .or_else(|| deepest(2))
        .unwrap_or_else(|| "/".to_owned())
}

/// Drops what a folder covers already.
fn keep_outermost(below: &mut Vec<String>, exact: &mut Vec<String>) {
    below.sort();
    below.dedup();
    let all = below.clone();
    below.retain(|b| !all.iter().any(|a| a != b && b.starts_with(a.as_str())));
    exact.retain(|e| !below.iter().any(|b| e.starts_with(b.as_str())));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(paths: &[String]) -> Vec<SeenPath> {
        let whole = |path: &String| SeenPath {
            path: path.clone(),
            below: false,
        };
        paths.iter().map(whole).collect()
    }

    fn patterns(paths: &[String]) -> (String, bool) {
        let out = generalise(&seen(paths));
        let texts: Vec<_> = out.patterns.iter().map(ToString::to_string).collect();
        (texts.join(" "), out.widened || out.cut)
    }

    #[test]
    fn few_paths_stay_exact_and_many_become_folders() {
        let files = |folder: &str, n: usize| -> Vec<String> {
            (0..n).map(|i| format!("{folder}{i}")).collect()
        };
        let several = [files("/a/b/", 5), files("/a/c/", 5), vec!["/x".into()]].concat();
        let sized = |bytes: usize| format!("/deep/{}", "x".repeat(bytes - 6));
        let long = sized(306);
        let rows: &[(&str, Vec<String>, &str, bool)] = &[
            ("one", vec!["/v1/models".into()], "/v1/models", false),
            (
                "twice the same is one",
                vec!["/a".into(), "/a".into()],
                "/a",
                false,
            ),
            (
                "eight are listed",
                files("/f/", 8),
                "/f/0 /f/1 /f/2 /f/3 /f/4 /f/5 /f/6 /f/7",
                false,
            ),
            (
                "nine of one folder are the folder",
                files("/f/", 9),
                "/f/*",
                true,
            ),
            (
                "only as many folders as are needed, deepest first",
                several,
                "/a/b/0 /a/b/1 /a/b/2 /a/b/3 /a/b/4 /x /a/c/*",
                true,
            ),
            ("nothing in common is everything", files("/", 9), "/*", true),
            ("a path that the log cut", vec![long], "/deep/*", true),
            (
                "as long as the log's own, so perhaps cut",
                vec![sized(CUT)],
                "/deep/*",
                true,
            ),
            (
                "one byte shorter, so whole",
                vec![sized(CUT - 1)],
                &sized(CUT - 1),
                false,
            ),
            (
                "a star is no pattern",
                vec!["/a/b*c/d".into()],
                "/a/*",
                true,
            ),
            ("a folder itself is exact", vec!["/a/".into()], "/a/", false),
            ("what is no path is its root", vec!["x".into()], "/*", true),
        ];
        for (what, paths, want, wider) in rows {
            assert_eq!(patterns(paths), ((*want).to_owned(), *wider), "{what}");
        }
    }

    #[test]
    fn every_seen_path_is_covered_however_many() {
        let paths: Vec<String> = (0..500)
            .map(|i| format!("/{}/{}/{}/{i}", i % 3, i % 7, i % 11))
            .collect();
        let out = generalise(&seen(&paths));
        assert!(out.patterns.len() <= FEW, "{:?}", out.patterns);
        for path in &paths {
            assert!(out.patterns.iter().any(|p| p.matches(path)), "{path}");
        }
    }
}
