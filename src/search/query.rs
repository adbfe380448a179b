//! From what was typed to a query.
//!
//! Every word may match, and each that does counts. A word that stands nowhere is taken for the
//! beginning of one, and then for one with a slip in it; both cost more, so they are tried only then.

use tantivy::{
    Searcher, Term,
    query::{BooleanQuery, BoostQuery, ConstScoreQuery, FuzzyTermQuery, Occur, Query, TermQuery},
    schema::{Field, IndexRecordOption},
    tokenizer::TextAnalyzer,
};

use super::{synonyms, words};

/// Words of one query; what is beyond them is not looked for.
const MAX_WORDS: usize = 24;
const MAX_SYNONYMS: usize = 48;
/// Bytes of a query that are read.
const MAX_BYTES: usize = 2 << 10;
/// What another word of the same meaning counts, against the word itself.
const SYNONYM: f32 = 0.45;
const ABBREVIATION: f32 = 0.12;
const BEGINNING: f32 = 0.6;
const SLIP: f32 = 0.5;

/// A field, and what a match in it counts.
pub(super) type Weighted = (Field, f32);

pub(super) struct Reader<'a> {
    pub(super) searcher: &'a Searcher,
    pub(super) analyzer: TextAnalyzer,
    pub(super) fields: &'a [Weighted],
}

impl Reader<'_> {
    /// `None` where nothing was typed that could be looked for.
    pub(super) fn read(&mut self, typed: &str) -> Option<Box<dyn Query>> {
        let mut end = typed.len().min(MAX_BYTES);
        while !typed.is_char_boundary(end) {
            end -= 1;
        }
        let typed = typed.get(..end)?;
        let own = self.words(typed, MAX_WORDS);
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        let last = own.last().cloned();
        for word in &own {
            let is_last = Some(word) == last.as_ref();
            clauses.extend(self.one(word, is_last).map(|q| (Occur::Should, q)));
        }
        let mut others: Vec<(String, f32)> = Vec::new();
        for phrase in synonyms::of(typed) {
            // Abbreviations are rare, and would outweigh what was typed.
            let short = phrase.len() <= 3 && phrase.is_ascii();
            let weight = if short { ABBREVIATION } else { SYNONYM };
            for word in self.words(phrase, MAX_WORDS) {
                let known = own.contains(&word) || others.iter().any(|(other, _)| *other == word);
                if others.len() < MAX_SYNONYMS && !known {
                    others.push((word, weight));
                }
            }
        }
        for (word, weight) in &others {
            let terms = self.exact(word, *weight);
            clauses.extend(terms.into_iter().map(|q| (Occur::Should, q)));
        }
        (!clauses.is_empty()).then(|| Box::new(BooleanQuery::new(clauses)) as Box<dyn Query>)
    }

    fn words(&mut self, text: &str, max: usize) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        let mut stream = self.analyzer.token_stream(text);
        while out.len() < max && stream.advance() {
            let word = &stream.token().text;
            if !out.contains(word) {
                out.push(word.clone());
            }
        }
        out
    }

    /// The clauses of one typed word.
    fn one(&self, word: &str, is_last: bool) -> Option<Box<dyn Query>> {
        let mut clauses = self.exact(word, 1.0);
        let letters = word.chars().count();
        let dense = words::is_dense(word);
        let may_begin = letters >= if dense { 1 } else { 2 };
        if may_begin && (clauses.is_empty() || (is_last && letters >= 3)) {
            clauses.extend(self.fuzzy(word, 0, true, BEGINNING));
        }
        let slips = match letters {
            _ if dense || !clauses.is_empty() && !self.only_beginnings(word) => 0,
            0..4 => 0,
            4..8 => 1,
            _ => 2,
        };
        if slips > 0 {
            clauses.extend(self.fuzzy(word, slips, false, SLIP));
        }
        let clauses: Vec<_> = clauses.into_iter().map(|q| (Occur::Should, q)).collect();
        (!clauses.is_empty()).then(|| Box::new(BooleanQuery::new(clauses)) as Box<dyn Query>)
    }

    /// It stands nowhere as it is.
    fn only_beginnings(&self, word: &str) -> bool {
        let stands = |field| {
            let frequency = self.searcher.doc_freq(&Term::from_field_text(field, word));
            frequency.is_ok_and(|n| n > 0)
        };
        !self.fields.iter().any(|(field, _)| stands(*field))
    }

    fn exact(&self, word: &str, weight: f32) -> Vec<Box<dyn Query>> {
        let mut out: Vec<Box<dyn Query>> = Vec::new();
        for (field, boost) in self.fields {
            let term = Term::from_field_text(*field, word);
            if self.searcher.doc_freq(&term).is_ok_and(|n| n > 0) {
                let query = TermQuery::new(term, IndexRecordOption::WithFreqs);
                out.push(Box::new(BoostQuery::new(Box::new(query), boost * weight)));
            }
        }
        out
    }

    fn fuzzy(&self, word: &str, slips: u8, prefix: bool, weight: f32) -> Vec<Box<dyn Query>> {
        let query = |field: Field| {
            let term = Term::from_field_text(field, word);
            match prefix {
                true => FuzzyTermQuery::new_prefix(term, slips, true),
                false => FuzzyTermQuery::new(term, slips, true),
            }
        };
        self.fields
            .iter()
            .map(|(field, boost)| {
                let scored = ConstScoreQuery::new(Box::new(query(*field)), boost * weight);
                Box::new(scored) as Box<dyn Query>
            })
            .collect()
    }
}
