//! What a person typed into the model dialog, or an agent guessed: English, Chinese, or a file name.

/// Longer ones are no names of models, and nothing that should leave.
const MAX_CHARS: usize = 80;
const MAX_WORDS: usize = 8;

/// Words that models are described by, in the two languages of the plugin. The hubs' search knows
/// English names only.
const WORDS: &[(&str, &str)] = &[
    ("姿势", "pose"),
    ("姿态", "pose"),
    ("骨骼", "openpose"),
    ("深度", "depth"),
    ("法线", "normal"),
    ("线稿", "lineart"),
    ("线条", "lineart"),
    ("边缘", "canny"),
    ("涂鸦", "scribble"),
    ("分割", "segmentation"),
    ("放大", "upscale"),
    ("超分", "upscale"),
    ("高清", "upscale"),
    ("修复", "inpaint"),
    ("重绘", "inpaint"),
    ("补全", "inpaint"),
    ("真实", "realistic"),
    ("写实", "realistic"),
    ("摄影", "photo"),
    ("人像", "portrait"),
    ("人脸", "face"),
    ("脸", "face"),
    ("动漫", "anime"),
    ("二次元", "anime"),
    ("卡通", "cartoon"),
    ("水墨", "ink"),
    ("国风", "chinese style"),
    ("像素", "pixel"),
    ("风景", "landscape"),
    ("建筑", "architecture"),
    ("产品", "product"),
    ("视频", "video"),
    ("换脸", "faceswap"),
    ("换装", "tryon"),
    ("背景", "background"),
    ("控制", "controlnet"),
    ("编码器", "encoder"),
    ("编辑", "edit"),
    ("文生图", "text to image"),
    ("图生图", "image to image"),
    ("大模型", "checkpoint"),
    ("模型", ""),
];

/// A bounded text in one line, and the words to look for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    words: Vec<String>,
}

impl Query {
    /// `None` where nothing is left to look for.
    pub fn of(text: &str) -> Option<Self> {
        let bounded: String = text.chars().take(MAX_CHARS).collect();
        let mut line = bounded.to_lowercase();
        let mut by_length: Vec<&(&str, &str)> = WORDS.iter().collect();
        // `换脸` before `脸`.
        by_length.sort_by_key(|(chinese, _)| std::cmp::Reverse(chinese.len()));
        for (chinese, english) in by_length {
            if line.contains(chinese) {
                line = line.replace(chinese, &format!(" {english} "));
            }
        }
        for extension in super::Format::ALL {
            let extension = format!(".{}", extension.as_str());
            line = line.trim_end().trim_end_matches(&extension).to_owned();
        }
        let separates = |c: char| !(c.is_alphanumeric() || c == '.');
        let words: Vec<String> = line
            .split(separates)
            .map(|w| w.trim_matches('.'))
            .filter(|w| !w.is_empty())
            .take(MAX_WORDS)
            .map(str::to_owned)
            .collect();
        (!words.is_empty()).then_some(Self { words })
    }

    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// For a hub.
    pub fn text(&self) -> String {
        self.words.join(" ")
    }

    /// One Latin letter, as the dialog sends while somebody begins to type: no hub is asked about it.
    pub fn is_worth_asking(&self) -> bool {
        let text = self.text();
        text.chars().count() > 1 || !text.is_ascii()
    }

    /// Whether each word is somewhere in `text`.
    pub fn matches(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.words.iter().all(|w| text.contains(w.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_a_few_plain_words_in_either_language() {
        for (row, typed, want) in [
            ("a word", "Pose", Some("pose")),
            (
                "a file",
                "sd_xl_base_1.0.safetensors",
                Some("sd xl base 1.0"),
            ),
            (
                "a path",
                "SDXL\\detail-tweaker.pt",
                Some("sdxl detail tweaker"),
            ),
            ("chinese", "姿势", Some("pose")),
            ("chinese, mixed", "flux 换脸模型", Some("flux faceswap")),
            ("chinese we know no word for", "赛博朋克", Some("赛博朋克")),
            ("only a filler", "模型", None),
            ("nothing", "  ", None),
            ("signs", "&limit=1000#", Some("limit 1000")),
        ] {
            assert_eq!(Query::of(typed).map(|q| q.text()).as_deref(), want, "{row}");
        }
        let long = Query::of(&"x ".repeat(4000)).unwrap();
        assert_eq!(long.words().len(), MAX_WORDS);
    }

    #[test]
    fn all_words_have_to_be_there_and_a_single_letter_is_not_sent() {
        let query = Query::of("xl base").unwrap();
        assert!(query.matches("checkpoints/sd_XL_base_1.0.safetensors"));
        assert!(!query.matches("sd_xl_refiner.safetensors"));
        for (typed, asked) in [("p", false), ("po", true), ("脸", true), ("梦", true)] {
            assert_eq!(
                Query::of(typed).unwrap().is_worth_asking(),
                asked,
                "{typed}"
            );
        }
    }
}
