//! Hugging Face's API (huggingface.co/docs/hub/api): targets, and what comes back.
//!
//! `GET /api/models?search=...&full=true`, `GET /api/models/{owner}/{repo}?blobs=true`, and files at
//! `/{owner}/{repo}/resolve/{commit}/{path}`, which answers 302 to a signed address of a store.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{
    Details, File, FilePath, Format, Formats, ModelId, Query, Sha256, Summary,
    file::offered,
    json::{list, number, text, time},
    tags,
};

const SEARCHED: usize = 20;
/// Files of one repository that are told one by one.
const FILES_EACH: usize = 8;
/// Of one repository; more is a data set by another name.
const MAX_FILES: usize = 512;
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
const MAX_HEAVY: u64 = 1 << 42;

pub fn search_target(query: &Query) -> String {
    let text = query.text();
    let text = utf8_percent_encode(&text, UNRESERVED);
    format!("/api/models?search={text}&sort=downloads&direction=-1&limit={SEARCHED}&full=true")
}

pub fn details_target(owner: &str, repo: &str) -> String {
    format!("/api/models/{owner}/{repo}?blobs=true")
}

fn file_target(owner: &str, repo: &str, commit: &str, path: &FilePath) -> String {
    let path: Vec<String> = path
        .as_str()
        .split('/')
        .map(|s| utf8_percent_encode(s, UNRESERVED).to_string())
        .collect();
    format!("/{owner}/{repo}/resolve/{commit}/{}", path.join("/"))
}

/// Repositories with weights that may be offered; one with several such files gives a line for each.
/// `None` where the answer is no list of models.
pub fn search(answer: &Value, formats: &Formats) -> Option<Vec<Summary>> {
    let repos = answer.as_array()?;
    Some(
        repos
            .iter()
            .take(SEARCHED)
            .flat_map(|repo| lines(repo, formats).unwrap_or_default())
            .collect(),
    )
}

fn lines(repo: &Value, formats: &Formats) -> Option<Vec<Summary>> {
    let id = text(repo, "id").or_else(|| text(repo, "modelId"))?;
    let paths = list(repo, "siblings")
        .take(MAX_FILES)
        .filter_map(|s| FilePath::parse(text(s, "rfilename")?).ok())
        .filter(|p| Format::of(p).is_some_and(|f| formats.allow(f)))
        .collect::<Vec<_>>();
    let (mut chosen, deep): (Vec<_>, Vec<_>) = paths.into_iter().partition(FilePath::is_at_top);
    if chosen.is_empty() {
        chosen = deep;
    }
    // Parts of one model are of no use alone.
    chosen.retain(|p| !is_part(p.name()));
    chosen.sort_by_key(|p| p.as_str().len());
    let files: Vec<Option<FilePath>> = match chosen.len() {
        0 => return None,
        1 => vec![None],
        _ => chosen.into_iter().take(FILES_EACH).map(Some).collect(),
    };
    let lines = files
        .into_iter()
        .filter_map(|file| Some(summary(ModelId::hugging_face(id, file)?, repo)));
    Some(lines.collect())
}

/// `name-00001-of-00003.safetensors`.
fn is_part(name: &str) -> bool {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let digits = |s: &str| s.len() == 5 && s.bytes().all(|b| b.is_ascii_digit());
    stem.rsplit_once("-of-").is_some_and(|(before, total)| {
        digits(total) && before.rsplit_once('-').is_some_and(|(_, n)| digits(n))
    })
}

fn summary(id: ModelId, repo: &Value) -> Summary {
    let gated = is_gated(repo).then_some("login needed");
    let kind = [text(repo, "pipeline_tag"), text(repo, "library_name")];
    let words = ["Hugging Face"]
        .into_iter()
        .chain(gated)
        .chain(kind.into_iter().flatten());
    Summary {
        id,
        updated: time(repo, "lastModified")
            .or_else(|| time(repo, "createdAt"))
            .unwrap_or(0),
        downloads: number(repo, "downloads").unwrap_or(0),
        tags: tags(words),
    }
}

/// `false`, or `"auto"` and `"manual"`.
fn is_gated(repo: &Value) -> bool {
    match repo.get("gated") {
        Some(Value::Bool(gated)) => *gated,
        Some(Value::String(_)) => true,
        Some(_) | None => false,
    }
}

/// A repository with its files, or the one file that `id` names. The commit is in the targets, so that
/// what is downloaded is what was listed. `None` where the answer is not this model.
pub fn details(id: &ModelId, answer: &Value, formats: &Formats) -> Option<Details> {
    let ModelId::HuggingFace { owner, repo, file } = id else {
        return None;
    };
    let commit = text(answer, "sha").filter(|sha| is_commit(sha))?;
    let files: Vec<File> = list(answer, "siblings")
        .take(MAX_FILES)
        .filter_map(|s| {
            let path = FilePath::parse(text(s, "rfilename")?).ok()?;
            let format = Format::of(&path)?;
            let lfs = s.get("lfs");
            let size = lfs
                .and_then(|l| number(l, "size"))
                .or_else(|| number(s, "size"))
                .filter(|size| (1..MAX_HEAVY).contains(size))?;
            Some(File {
                target: file_target(owner, repo, commit, &path),
                sha256: lfs
                    .and_then(|l| text(l, "sha256").or_else(|| text(l, "oid")))
                    .and_then(Sha256::parse),
                path,
                size,
                format,
            })
        })
        .collect();
    let (mut files, held_back) = offered(files, formats);
    match file {
        Some(wanted) => files.retain(|f| f.path == *wanted),
        // Beside weights at the top, folders hold the same in parts.
        None if files.iter().any(|f| f.path.is_at_top()) => files.retain(|f| f.path.is_at_top()),
        None => {}
    }
    Some(Details {
        summary: summary(id.clone(), answer),
        files,
        held_back,
        gated: is_gated(answer),
    })
}

fn is_commit(sha: &str) -> bool {
    (7..=64).contains(&sha.len()) && sha.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SHA: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn id(text: &str) -> ModelId {
        let (owner, name) = text.split_once('/').unwrap();
        ModelId::parse(owner, name).unwrap()
    }

    fn names(answer: &Value) -> Vec<String> {
        let found = search(answer, &Formats::default()).unwrap();
        found.iter().map(|s| s.id.to_string()).collect()
    }

    #[test]
    fn a_query_is_encoded_into_the_target() {
        let query = Query::of("梦 & pose?").unwrap();
        assert!(search_target(&query).starts_with("/api/models?search=%E6%A2%A6%20pose&sort="));
    }

    #[test]
    fn search_gives_a_line_for_each_file_that_may_be_offered() {
        let answer = json!([
            {"id": "org/one", "downloads": 7, "lastModified": "2024-01-02T03:04:05.000Z",
             "pipeline_tag": "text-to-image", "gated": "manual",
             "siblings": [{"rfilename": "README.md"}, {"rfilename": "one.safetensors"},
                          {"rfilename": "unet/x.safetensors"}]},
            {"id": "org/several",
             "siblings": [{"rfilename": "b.safetensors"}, {"rfilename": "a.safetensors"}, {"rfilename": "x.ckpt"}]},
            {"id": "org/pickles", "siblings": [{"rfilename": "x.ckpt"}]},
            {"id": "org/parts", "siblings": [{"rfilename": "m-00001-of-00002.safetensors"}]},
            {"id": "../etc", "siblings": [{"rfilename": "x.safetensors"}]},
            {"id": "org/climbs", "siblings": [{"rfilename": "../../x.safetensors"}]},
            {"siblings": 3}, 17, null,
        ]);
        assert_eq!(
            names(&answer),
            [
                "hf--org/one",
                "hf--org/several~~b.safetensors",
                "hf--org/several~~a.safetensors"
            ]
        );
        let first = &search(&answer, &Formats::default()).unwrap()[0];
        assert_eq!((first.downloads, first.updated), (7, 1_704_164_645));
        assert_eq!(
            first.tags,
            ["Hugging Face", "login needed", "text-to-image"]
        );
        assert_eq!(search(&json!({"error": "no"}), &Formats::default()), None);
    }

    #[test]
    fn details_hold_size_digest_and_a_target_at_the_commit() {
        let answer = json!({"id": "org/repo", "sha": "abcdef0123", "siblings": [
            {"rfilename": "sub/m 1.safetensors", "size": 130, "lfs": {"sha256": SHA, "size": 4096, "pointerSize": 130}},
            {"rfilename": "small.safetensors", "size": 12},
            {"rfilename": "x.pt", "size": 9},
            {"rfilename": "no-size.safetensors"},
            {"rfilename": "config.json", "size": 2},
        ]});
        let one = details(
            &id("hf--org/repo~~sub~.m~201.safetensors"),
            &answer,
            &Formats::default(),
        )
        .unwrap();
        assert_eq!(one.files.len(), 1);
        assert_eq!(one.files[0].size, 4096);
        assert_eq!(one.files[0].sha256.as_ref().unwrap().as_str(), SHA);
        assert_eq!(
            one.files[0].target,
            "/org/repo/resolve/abcdef0123/sub/m%201.safetensors"
        );
        assert_eq!(one.held_back, [Format::Pt]);
        let all = details(&id("hf--org/repo"), &answer, &Formats::default()).unwrap();
        let names: Vec<_> = all.files.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(names, ["small.safetensors"]);
        assert_eq!(all.files[0].sha256, None);
        for sha in ["main", "../../x", ""] {
            let answer = json!({"sha": sha, "siblings": []});
            assert_eq!(
                details(&id("hf--org/repo"), &answer, &Formats::default()),
                None,
                "{sha}"
            );
        }
    }
}
