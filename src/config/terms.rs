//! What a rule demands beyond matching, and the `secrets` section. Called by `rules` and `compile`.

use std::sync::Arc;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Secret, SecretsConfig,
    error::Errors,
    reader::{Field, Section},
    tree::Value,
};
use crate::{
    policy::{
        RuleAction, Terms,
        budget::{Budget, Each, Per},
        secrets::{OWN_LENGTH, SecretMode},
        terms::{READ_ONLY_HEADER_BYTES, READ_ONLY_QUERY_BYTES},
    },
    token::Username,
};

/// Own strings are looked for in every request: some hundreds are a list by mistake.
const MAX_OWN: usize = 256;
/// Bounds on queries and headers, in bytes.
const BOUND: (u64, u64) = (0, 1 << 20);
/// Over every size that may be written, so that an absent key is told apart.
const UNSET: u64 = u64::MAX;

/// Takes the keys of [`Terms`] from a rule. `None` where it has none of them.
pub(super) fn read_terms(
    s: &mut Section,
    action: Option<RuleAction>,
    methods: Option<&[Box<str>]>,
    upgrade: bool,
    errors: &mut Errors,
) -> Option<Arc<Terms>> {
    let mut terms = Terms {
        until: s.take("until").and_then(|f| read_until(f, errors)),
        users: s
            .take("users")
            .map(|f| f.some_list(errors, read_user))
            .unwrap_or_default(),
        budget: s.take("budget").and_then(|f| read_budget(f, errors)),
        secrets: s.take("secrets").and_then(|f| read_mode(f, errors)),
        ..Terms::default()
    };
    let (mut query, mut headers) = (UNSET, UNSET);
    s.size("max_query_bytes", &mut query, BOUND, errors);
    s.size("max_header_bytes", &mut headers, BOUND, errors);
    terms.max_query_bytes = (query != UNSET).then_some(query);
    terms.max_header_bytes = (headers != UNSET).then_some(headers);
    s.boolean("read_only", &mut terms.read_only, errors);
    s.boolean("encoded_bodies", &mut terms.encoded_bodies, errors);
    if terms == Terms::default() {
        return None;
    }
    match action {
        Some(RuleAction::Deny) => s.error(
            errors,
            "a deny refuses without terms: leave out until, users, read_only, \
             max_query_bytes, max_header_bytes, budget, secrets and encoded_bodies",
        ),
        Some(RuleAction::Tunnel) if terms.need_decryption() => s.error(
            errors,
            "a tunnel is not decrypted, so read_only, max_query_bytes, max_header_bytes, secrets and \
             encoded_bodies cannot be kept: leave them out, or write action: forward",
        ),
        Some(RuleAction::Respond(_))
            if terms.budget.is_some() || terms.secrets.is_some() || terms.encoded_bodies =>
        {
            s.error(
                errors,
                "what is answered here is not sent: leave out budget, secrets and encoded_bodies",
            );
        }
        _ => {}
    }
    if terms.read_only {
        let reads = |method: &str| matches!(method, "GET" | "HEAD");
        if methods.is_some_and(|all| !all.iter().all(|m| reads(m))) {
            s.error(
                errors,
                "is read_only: leave out methods other than GET and HEAD",
            );
        }
        if upgrade {
            s.error(
                errors,
                "is read_only: leave out upgrade, which opens a way to write",
            );
        }
        terms.max_query_bytes.get_or_insert(READ_ONLY_QUERY_BYTES);
        terms.max_header_bytes.get_or_insert(READ_ONLY_HEADER_BYTES);
    }
    Some(Arc::new(terms))
}

fn read_user(field: Field, errors: &mut Errors) -> Option<Username> {
    field.parse(errors, "the name of a user or an API key", |text| {
        text.parse::<Username>().map_err(|e| e.to_string())
    })
}

fn read_until(field: Field, errors: &mut Errors) -> Option<OffsetDateTime> {
    const WHAT: &str = "a time such as 2026-12-01T00:00:00Z";
    field.parse(errors, WHAT, |text| {
        OffsetDateTime::parse(text, &Rfc3339)
            .map_err(|_| format!("{text:?} is no time with a zone: write {WHAT}"))
    })
}

fn read_budget(field: Field, errors: &mut Errors) -> Option<Budget> {
    let mut s = field.section(errors)?;
    let mut amount = UNSET;
    s.size("bytes", &mut amount, (1, 1 << 50), errors);
    if amount == UNSET {
        s.error(errors, "does not say how much: write bytes: 1MiB");
    }
    let per = s
        .require("per", "hour", errors)
        .and_then(|f| one_of(f, "hour or day", Per::ALL, Per::as_str, errors));
    let each = s
        .take("each")
        .and_then(|f| {
            one_of(
                f,
                "rule, host, client or session",
                Each::ALL,
                Each::as_str,
                errors,
            )
        })
        .unwrap_or_default();
    s.close(errors);
    Some(Budget {
        bytes: amount,
        per: per?,
        each,
    })
}

fn read_mode(field: Field, errors: &mut Errors) -> Option<SecretMode> {
    // YAML reads a bare off as a word or as false.
    if field.is_off() {
        return Some(SecretMode::Off);
    }
    one_of(
        field,
        "block, redact or off",
        SecretMode::ALL,
        SecretMode::as_str,
        errors,
    )
}

fn one_of<T: Copy, const N: usize>(
    field: Field,
    what: &str,
    all: [T; N],
    name: fn(T) -> &'static str,
    errors: &mut Errors,
) -> Option<T> {
    field.parse(errors, what, |text| {
        all.into_iter()
            .find(|value| name(*value) == text)
            .ok_or_else(|| format!("{text:?} is not one of them: write {what}"))
    })
}

/// The `secrets` section. Errors never hold one of the strings.
pub(super) fn secrets(field: Field, errors: &mut Errors) -> SecretsConfig {
    let mut out = SecretsConfig::default();
    let Some(mut s) = field.section(errors) else {
        return out;
    };
    if let Some(mode) = s.take("mode").and_then(|f| read_mode(f, errors)) {
        out.mode = mode;
    }
    let own = s
        .take("own")
        .and_then(|f| f.list(errors))
        .unwrap_or_default();
    if own.len() > MAX_OWN {
        s.error(
            errors,
            format!("holds too many own strings: write at most {MAX_OWN}"),
        );
    }
    for field in own.into_iter().take(MAX_OWN) {
        let (low, high) = (OWN_LENGTH.start(), OWN_LENGTH.end());
        match field.value {
            Value::Text(text) if OWN_LENGTH.contains(&text.len()) => {
                out.own.push(Secret::new(text));
            }
            _ => errors.add(
                &field.path,
                Some(field.line),
                format!("is no text of {low} to {high} bytes: write one, in quotes"),
            ),
        }
    }
    s.close(errors);
    out
}
