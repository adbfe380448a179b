//! The two languages of the plugin's users, as `Accept-Language` tells them.

use http::{HeaderMap, header};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    Chinese,
}

/// One sentence in both languages.
#[derive(Clone, Copy, Debug)]
pub struct Phrase {
    pub en: &'static str,
    pub zh: &'static str,
}

impl Phrase {
    pub fn in_language(self, language: Language) -> &'static str {
        match language {
            Language::English => self.en,
            Language::Chinese => self.zh,
        }
    }
}

impl Language {
    /// The first of the client's languages, by weight, that is spoken here; English if none is.
    pub fn of(headers: &HeaderMap) -> Self {
        let value = headers
            .get(header::ACCEPT_LANGUAGE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        let mut best: Option<(f32, Language)> = None;
        for item in value.split(',').take(16) {
            let (tag, weight) = match item.split_once(';') {
                Some((tag, q)) => (tag, q.trim().strip_prefix("q=").unwrap_or("0").parse()),
                None => (item, Ok(1.0f32)),
            };
            let Ok(weight) = weight else { continue };
            let primary = tag.trim().split(['-', '_']).next().unwrap_or_default();
            let language = match primary.to_ascii_lowercase().as_str() {
                "en" => Language::English,
                "zh" => Language::Chinese,
                _ => continue,
            };
            if weight > best.map_or(0.0, |(w, _)| w) {
                best = Some((weight, language));
            }
        }
        best.map_or(Language::English, |(_, language)| language)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_spoken_language_wins() {
        for (row, value, want) in [
            ("nothing said", None, Language::English),
            ("plain English", Some("en"), Language::English),
            ("a browser in China", Some("zh-CN"), Language::Chinese),
            ("ComfyUI's locale name", Some("zh_TW"), Language::Chinese),
            (
                "English first",
                Some("en-US,en;q=0.9,zh-CN;q=0.8"),
                Language::English,
            ),
            (
                "weight beats order",
                Some("en;q=0.3, zh;q=0.9"),
                Language::Chinese,
            ),
            ("neither is spoken", Some("de,ja;q=0.9"), Language::English),
            (
                "Chinese second after an unspoken one",
                Some("ja,zh;q=0.5"),
                Language::Chinese,
            ),
            ("Chinese refused", Some("zh;q=0"), Language::English),
            ("nonsense", Some(";;q=,="), Language::English),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::ACCEPT_LANGUAGE, value.parse().expect("header"));
            }
            assert_eq!(Language::of(&headers), want, "{row}");
        }
    }
}
