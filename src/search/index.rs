//! The index: built once from a catalogue, then only read.

use std::cmp::Ordering;

use tantivy::{
    IndexSettings, ReloadPolicy, Searcher, SingleSegmentIndexWriter, TantivyDocument, Term,
    collector::TopDocs,
    directory::RamDirectory,
    query::{BooleanQuery, ConstScoreQuery, Occur, Query, TermQuery},
    schema::{Field, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions},
    tokenizer::{TextAnalyzer, TokenizerManager},
};

use super::{
    query::{Reader, Weighted},
    words,
};
use crate::comfy::{Catalogue, Words};

/// Memory that the writer may set aside while it builds; it holds what is there, not this much.
const BUDGET: usize = 32 << 20;
/// Results of one search.
const MAX_HITS: usize = 100;
/// More are asked for than are given: weights of our own change the order.
const SPARE: usize = 3;

#[derive(Debug, thiserror::Error)]
#[error("the search index could not be built: {0}")]
pub struct SearchError(#[from] tantivy::TantivyError);

/// What a document of the index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// With its docs.
    Node,
    Template,
    Saved,
    Model,
}

impl What {
    pub const ALL: [What; 4] = [What::Node, What::Template, What::Saved, What::Model];

    fn code(self) -> &'static str {
        match self {
            What::Node => "n",
            What::Template => "t",
            What::Saved => "s",
            What::Model => "m",
        }
    }
}

/// One result: its place in the catalogue that the index was built from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    pub what: What,
    /// Into `nodes()`, `templates()`, `saved()` or `models()`.
    pub at: usize,
    pub score: f32,
}

/// A document's place, and what its matches count.
#[derive(Clone, Copy)]
struct Entry {
    what: What,
    at: u32,
    weight: f32,
}

pub struct SearchIndex {
    searcher: Searcher,
    analyzer: TextAnalyzer,
    fields: [Weighted; 4],
    kind: Field,
    /// By document: there is one segment, which keeps the order.
    entries: Vec<Entry>,
    bytes: u64,
}

impl std::fmt::Debug for SearchIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SearchIndex({} documents)", self.entries.len())
    }
}

struct Fields {
    kind: Field,
    name: Field,
    title: Field,
    tags: Field,
    body: Field,
}

impl SearchIndex {
    /// Reads all of `catalogue`, telling `progress` how many of its documents are in.
    pub fn build(
        catalogue: &Catalogue,
        mut progress: impl FnMut(usize),
    ) -> Result<Self, SearchError> {
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(words::ANALYZER)
            .set_index_option(IndexRecordOption::WithFreqs);
        let text = TextOptions::default().set_indexing_options(indexing);
        let fields = Fields {
            kind: schema.add_text_field("kind", STRING),
            name: schema.add_text_field("name", text.clone()),
            title: schema.add_text_field("title", text.clone()),
            tags: schema.add_text_field("tags", text.clone()),
            body: schema.add_text_field("body", text),
        };
        let tokenizers = TokenizerManager::default();
        tokenizers.register(words::ANALYZER, words::analyzer());
        let writer = tantivy::Index::builder()
            .schema(schema.build())
            .settings(IndexSettings::default())
            .tokenizers(tokenizers)
            .single_segment_index_writer(RamDirectory::create(), BUDGET)?;
        let mut filling = Filling {
            writer,
            fields,
            entries: Vec::new(),
        };
        filling.nodes(catalogue, &mut progress)?;
        filling.templates(catalogue)?;
        filling.saved(catalogue)?;
        filling.models(catalogue)?;
        progress(filling.entries.len());
        let Filling {
            writer,
            fields,
            entries,
        } = filling;
        let index = writer.finalize()?;
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()?;
        let searcher = reader.searcher();
        let bytes = searcher.space_usage().map_or(0, |s| s.total().get_bytes());
        Ok(Self {
            searcher,
            analyzer: words::analyzer(),
            fields: [
                (fields.name, 4.0),
                (fields.title, 3.0),
                (fields.tags, 1.5),
                (fields.body, 1.0),
            ],
            kind: fields.kind,
            entries,
            bytes,
        })
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Memory of the index itself.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The best `limit` results (at most 100) of these kinds, best first. No query is an error:
    /// what cannot be looked for finds nothing.
    pub fn search(&self, typed: &str, kinds: &[What], limit: usize) -> Vec<Hit> {
        let limit = limit.min(MAX_HITS);
        // Tantivy panics over a segment without documents.
        if self.is_empty() {
            return Vec::new();
        }
        let mut reader = Reader {
            searcher: &self.searcher,
            analyzer: self.analyzer.clone(),
            fields: &self.fields,
        };
        let Some(query) = reader.read(typed).filter(|_| limit > 0) else {
            return Vec::new();
        };
        let query = match kinds.len() < What::ALL.len() {
            true => self.only(kinds, query),
            false => query,
        };
        let top = TopDocs::with_limit(limit * SPARE).order_by_score();
        // In memory nothing can fail to be read; were it so, nothing would be found.
        let found = self.searcher.search(&*query, &top).unwrap_or_default();
        let mut hits: Vec<Hit> = found
            .into_iter()
            .filter_map(|(score, address)| {
                let entry = self.entries.get(address.doc_id as usize)?;
                Some(Hit {
                    what: entry.what,
                    at: entry.at as usize,
                    score: score * entry.weight,
                })
            })
            .collect();
        hits.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal));
        hits.truncate(limit);
        hits
    }

    fn only(&self, kinds: &[What], query: Box<dyn Query>) -> Box<dyn Query> {
        let kinds: Vec<(Occur, Box<dyn Query>)> = kinds
            .iter()
            .map(|kind| {
                let term = Term::from_field_text(self.kind, kind.code());
                let term = TermQuery::new(term, IndexRecordOption::Basic);
                (Occur::Should, Box::new(term) as Box<dyn Query>)
            })
            .collect();
        let filter = ConstScoreQuery::new(Box::new(BooleanQuery::new(kinds)), 0.0);
        Box::new(BooleanQuery::new(vec![
            (Occur::Must, Box::new(filter)),
            (Occur::Must, query),
        ]))
    }
}

/// An index that is being built.
struct Filling {
    writer: SingleSegmentIndexWriter,
    fields: Fields,
    entries: Vec<Entry>,
}

/// The texts of one document.
#[derive(Default)]
struct Texts<'a> {
    name: &'a str,
    title: Vec<&'a str>,
    tags: Vec<&'a str>,
    body: Vec<&'a str>,
}

impl Filling {
    fn add(
        &mut self,
        what: What,
        at: usize,
        weight: f32,
        texts: &Texts<'_>,
    ) -> Result<(), SearchError> {
        let Texts {
            name,
            title,
            tags,
            body,
        } = texts;
        let mut document = TantivyDocument::default();
        document.add_text(self.fields.kind, what.code());
        document.add_text(self.fields.name, name);
        for (field, texts) in [
            (self.fields.title, title),
            (self.fields.tags, tags),
            (self.fields.body, body),
        ] {
            for text in texts.iter().filter(|t| !t.is_empty()) {
                document.add_text(field, text);
            }
        }
        self.writer.add_document(document)?;
        self.entries.push(Entry {
            what,
            // Catalogues are bounded far below.
            at: u32::try_from(at).unwrap_or(u32::MAX),
            weight,
        });
        Ok(())
    }

    fn nodes(
        &mut self,
        catalogue: &Catalogue,
        progress: &mut impl FnMut(usize),
    ) -> Result<(), SearchError> {
        for (at, node) in catalogue.nodes().iter().enumerate() {
            let docs = catalogue.docs(&node.class);
            let mut body = vec![node.description.as_str()];
            body.extend(node.inputs.iter().map(|i| i.name.as_str()));
            body.extend(node.outputs.iter().map(|o| o.name.as_str()));
            body.extend(docs.iter().flat_map(|d| [d.en.as_str(), d.zh.as_str()]));
            let weight = match () {
                () if node.deprecated => 0.4,
                () if node.is_api => 0.6,
                () if node.experimental => 0.9,
                () => 1.0,
            };
            let texts = Texts {
                name: &node.class,
                title: vec![&node.title],
                tags: vec![&node.category, node.custom_pack().unwrap_or_default()],
                body,
            };
            self.add(What::Node, at, weight, &texts)?;
            if at % 256 == 0 {
                progress(at);
            }
        }
        Ok(())
    }

    fn templates(&mut self, catalogue: &Catalogue) -> Result<(), SearchError> {
        fn both(words: &Words) -> [&str; 2] {
            [&words.en, &words.zh]
        }
        for (at, template) in catalogue.templates().iter().enumerate() {
            let mut tags: Vec<&str> = template.tags.iter().flat_map(both).collect();
            tags.extend(template.families.iter().map(String::as_str));
            tags.extend(both(&template.group));
            tags.push(&template.media);
            let mut body: Vec<&str> = both(&template.description).into();
            if let Some(uses) = &template.uses {
                body.extend(uses.classes.iter().map(String::as_str));
                body.extend(uses.files.iter().map(|f| f.name.as_str()));
                body.push(&uses.notes);
            }
            let texts = Texts {
                name: &template.name,
                title: both(&template.title).into(),
                tags,
                body,
            };
            let weight = if template.is_api { 0.5 } else { 1.0 };
            self.add(What::Template, at, weight, &texts)?;
        }
        Ok(())
    }

    fn saved(&mut self, catalogue: &Catalogue) -> Result<(), SearchError> {
        for (at, saved) in catalogue.saved().iter().enumerate() {
            let mut body: Vec<&str> = saved.uses.classes.iter().map(String::as_str).collect();
            body.extend(saved.uses.files.iter().map(|f| f.name.as_str()));
            body.push(&saved.uses.notes);
            let texts = Texts {
                name: &saved.path,
                title: vec![saved.title()],
                body,
                ..Texts::default()
            };
            self.add(What::Saved, at, 1.2, &texts)?;
        }
        Ok(())
    }

    fn models(&mut self, catalogue: &Catalogue) -> Result<(), SearchError> {
        for (at, model) in catalogue.models().iter().enumerate() {
            let texts = Texts {
                name: &model.name,
                tags: vec![&model.folder],
                ..Texts::default()
            };
            self.add(What::Model, at, 1.0, &texts)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
