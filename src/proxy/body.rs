//! Where the body of a request ends, and what can be wrong with that: found by `listener` while it is read.
//!
//! A fault travels to [`super::respond`] and [`super::failure`] inside Pingora's read error.

use pingora::Error;

use crate::policy::Reason;

/// Where the body of a request ends, as its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// With the head: there is none.
    Nothing,
    Length(u64),
    Chunked,
}

impl Framing {
    pub fn has_body(self) -> bool {
        match self {
            Framing::Nothing | Framing::Length(0) => false,
            Framing::Length(_) | Framing::Chunked => true,
        }
    }

    /// The length that the head declares.
    pub fn declared(self) -> Option<u64> {
        match self {
            Framing::Length(length) => Some(length),
            Framing::Nothing | Framing::Chunked => None,
        }
    }
}

/// Why a chunked body was broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkFault {
    /// No reader takes it.
    #[error("{0}")]
    Malformed(&'static str),
    /// Another reader might see other chunks in it.
    #[error("{0}")]
    Ambiguous(&'static str),
}

impl ChunkFault {
    pub fn reason(self) -> Reason {
        match self {
            ChunkFault::Malformed(_) => Reason::MalformedRequest,
            ChunkFault::Ambiguous(_) => Reason::AmbiguousFraming,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            ChunkFault::Malformed(words) | ChunkFault::Ambiguous(words) => words,
        }
    }

    /// The fault behind an error of Pingora's, if it is one.
    pub fn behind(e: &Error) -> Option<Self> {
        let cause = e.cause.as_deref()?;
        if let Some(inner) = cause.downcast_ref::<Error>() {
            return Self::behind(inner);
        }
        if let Some(inner) = cause.downcast_ref::<Box<Error>>() {
            return Self::behind(inner);
        }
        let io = cause.downcast_ref::<std::io::Error>()?;
        io.get_ref()?.downcast_ref::<Self>().copied()
    }
}

#[cfg(test)]
mod tests {
    use pingora::{ErrorType, OrErr};

    use super::*;

    #[test]
    fn a_fault_is_found_behind_pingoras_layers_and_other_errors_are_none() {
        let fault = ChunkFault::Ambiguous("x");
        let read: Result<(), _> = Err(std::io::Error::other(fault));
        let error = read
            .or_err(ErrorType::ReadError, "when reading body")
            .unwrap_err();
        assert_eq!(ChunkFault::behind(&error), Some(fault));
        assert_eq!(ChunkFault::behind(&error.more_context("peer")), Some(fault));
        let reset: Result<(), _> = Err(std::io::Error::from_raw_os_error(104));
        let error = reset.or_err(ErrorType::ReadError, "x").unwrap_err();
        assert_eq!(ChunkFault::behind(&error), None);
    }
}
