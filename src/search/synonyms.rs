//! Words that mean the same to people who build workflows, in English and Chinese.
//!
//! ComfyUI's nodes have English names and mostly English descriptions, so this is also how a Chinese
//! question finds them.

/// Each line: words and phrases of one meaning, in lower case.
const MEANINGS: &[&[&str]] = &[
    &["txt2img", "text to image", "t2i", "文生图", "文本生成图像"],
    &["img2img", "image to image", "i2i", "图生图"],
    &["txt2vid", "text to video", "t2v", "文生视频"],
    &["img2vid", "image to video", "i2v", "图生视频"],
    &["txt2audio", "text to audio", "文生音频"],
    &[
        "upscale",
        "enlarge",
        "super resolution",
        "hires",
        "upscaler",
        "放大",
        "超分",
        "高清",
    ],
    &[
        "inpaint",
        "inpainting",
        "repaint",
        "fill",
        "局部重绘",
        "重绘",
        "修补",
    ],
    &["outpaint", "outpainting", "expand", "扩图", "外扩"],
    &[
        "checkpoint",
        "ckpt",
        "base model",
        "大模型",
        "检查点",
        "底模",
    ],
    &["lora", "lycoris", "低秩"],
    &["controlnet", "control net", "控制网络", "控制网"],
    &[
        "prompt",
        "text encode",
        "conditioning",
        "提示词",
        "提示",
        "条件",
    ],
    &["negative prompt", "反向提示词", "负面提示词"],
    &["sampler", "sampling", "denoise", "采样", "采样器", "去噪"],
    &["scheduler", "sigmas", "调度器", "调度"],
    &["latent", "潜空间", "潜在", "潜变量"],
    &["mask", "matte", "遮罩", "蒙版", "掩码"],
    &[
        "merge",
        "combine",
        "blend",
        "composite",
        "concat",
        "join",
        "合并",
        "混合",
        "拼接",
        "合成",
    ],
    &["load", "loader", "open", "import", "加载", "读取", "载入"],
    &["save", "export", "write", "保存", "导出"],
    &["preview", "show", "display", "预览", "显示"],
    &["crop", "cut", "裁剪", "裁切"],
    &["resize", "scale", "缩放", "调整大小", "尺寸"],
    &["rotate", "旋转"],
    &["flip", "mirror", "翻转", "镜像"],
    &[
        "background removal",
        "remove background",
        "rembg",
        "matting",
        "抠图",
        "去背景",
        "移除背景",
    ],
    &["pose", "openpose", "skeleton", "姿势", "姿态", "骨骼"],
    &["depth", "depthmap", "深度"],
    &["edge", "canny", "lineart", "边缘", "线稿"],
    &["face", "portrait", "人脸", "肖像", "人像"],
    &["style transfer", "style", "风格", "风格迁移"],
    &["image", "picture", "photo", "图像", "图片", "照片"],
    &["video", "movie", "animation", "视频", "动画"],
    &["audio", "sound", "music", "音频", "声音", "音乐"],
    &["3d", "mesh", "三维", "模型网格"],
    &["model", "weights", "模型", "权重"],
    &["vae", "autoencoder", "变分自编码器"],
    &["encode", "encoder", "编码"],
    &["decode", "decoder", "解码"],
    &["text encoder", "clip", "文本编码器"],
    &["noise", "噪声", "噪波"],
    &["seed", "随机种子", "种子"],
    &["batch", "批次", "批量"],
    &["blur", "模糊"],
    &["sharpen", "锐化"],
    &["color", "colour", "颜色", "色彩"],
    &["edit", "编辑", "修改"],
    &["frame", "interpolation", "帧", "插帧"],
    &["workflow", "template", "工作流", "模板"],
    &["logo", "icon", "标志", "图标"],
    &["product", "产品", "商品"],
    &["clothes", "try on", "outfit", "换装", "试衣", "服装"],
    &["face swap", "faceswap", "换脸"],
];

/// What else the query may mean: for each meaning that it names, the other words of it.
pub(super) fn of(query: &str) -> Vec<&'static str> {
    let query = query.to_lowercase();
    let mut out = Vec::new();
    for meaning in MEANINGS {
        if let Some(named) = meaning.iter().find(|word| names(&query, word)) {
            out.extend(meaning.iter().filter(|word| *word != named));
        }
    }
    out
}

/// Whole words where words have blanks between them.
fn names(query: &str, word: &str) -> bool {
    let ascii = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    query.match_indices(word).any(|(at, found)| {
        let before = query.get(..at).and_then(|b| b.chars().next_back());
        let after = query.get(at + found.len()..).and_then(|a| a.chars().next());
        let (first, last) = (word.chars().next(), word.chars().next_back());
        let inside = (ascii(first) && ascii(before)) || (ascii(last) && ascii(after));
        !inside
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meaning_is_found_in_either_language_and_by_whole_words() {
        for (query, want, not) in [
            ("图片放大", "upscale", "crop"),
            ("Enlarge a photo", "picture", "video"),
            ("文生图工作流", "text to image", "image to image"),
            ("loadstone", "", "loader"),
            ("imagery", "", "picture"),
        ] {
            let found = of(query);
            assert!(
                want.is_empty() || found.contains(&want),
                "{query}: {found:?}"
            );
            assert!(!found.contains(&not), "{query}: {found:?}");
        }
    }

    #[test]
    fn every_word_stands_once_in_its_line_and_in_lower_case() {
        for meaning in MEANINGS {
            for (at, word) in meaning.iter().enumerate() {
                assert_eq!(*word, word.to_lowercase());
                assert!(!meaning[..at].contains(word), "{word} twice");
            }
        }
    }
}
