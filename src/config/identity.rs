//! The sections `session` and `users`, and the secrets of the environment.

use std::time::Duration;

use crate::token::SigningKey;

use super::{
    SessionConfig, UsersConfig, error::Errors, places::Places, reader::Field, sections::count,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn session(field: Field, errors: &mut Errors) -> SessionConfig {
    let mut out = SessionConfig::default();
    let Some(mut s) = field.section(errors) else {
        return out;
    };
    s.duration("lifetime", &mut out.lifetime, (MINUTE, 8760 * HOUR), errors);
    s.duration(
        "max_lifetime",
        &mut out.max_lifetime,
        (MINUTE, 8760 * HOUR),
        errors,
    );
    count(
        &mut s,
        "max_sessions",
        &mut out.max_sessions,
        (1, 1_000_000),
        errors,
    );
    if out.lifetime > out.max_lifetime {
        s.error(
            errors,
            "has a lifetime above max_lifetime: raise max_lifetime, or lower lifetime",
        );
    }
    s.close(errors);
    out
}

pub(super) fn users(field: Field, errors: &mut Errors) -> UsersConfig {
    let mut out = UsersConfig::default();
    let Some(mut s) = field.section(errors) else {
        return out;
    };
    s.boolean("required", &mut out.required, errors);
    s.close(errors);
    out
}

/// `SESSION_SECRET` and the one before it. A weak one stops the start; a message never shows it.
pub(super) fn secrets(session: &mut SessionConfig, places: &Places<'_>, errors: &mut Errors) {
    let mut key = |name: &str| {
        let text = places.var(name)?;
        SigningKey::new(text.as_bytes())
            .map_err(|weak| errors.env(name, weak.to_string()))
            .ok()
    };
    session.secret = key("SESSION_SECRET");
    session.previous_secret = key("SESSION_SECRET_PREVIOUS");
}
