//! Protocol versions that are spoken here.

use serde::Serialize;

/// A published version of the protocol. 2026-07-28 is left out on purpose: a server that claims it
/// must send fields in later results that older clients do not know (WIRE.md 24).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum ProtocolVersion {
    #[serde(rename = "2024-11-05")]
    V2024_11_05,
    #[serde(rename = "2025-03-26")]
    V2025_03_26,
    #[serde(rename = "2025-06-18")]
    V2025_06_18,
    #[serde(rename = "2025-11-25")]
    V2025_11_25,
}

impl ProtocolVersion {
    pub const ALL: [ProtocolVersion; 4] = [
        ProtocolVersion::V2024_11_05,
        ProtocolVersion::V2025_03_26,
        ProtocolVersion::V2025_06_18,
        ProtocolVersion::V2025_11_25,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ProtocolVersion::V2024_11_05 => "2024-11-05",
            ProtocolVersion::V2025_03_26 => "2025-03-26",
            ProtocolVersion::V2025_06_18 => "2025-06-18",
            ProtocolVersion::V2025_11_25 => "2025-11-25",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.as_str() == text)
    }

    /// What `initialize` answers: the offered version if it is spoken here, else the oldest,
    /// which every client accepts.
    pub fn negotiate(offered: Option<&str>) -> Self {
        offered
            .and_then(Self::parse)
            .unwrap_or(ProtocolVersion::V2024_11_05)
    }

    /// Batches came with JSON-RPC and were removed by 2025-06-18.
    pub fn has_batches(self) -> bool {
        match self {
            ProtocolVersion::V2024_11_05 | ProtocolVersion::V2025_03_26 => true,
            ProtocolVersion::V2025_06_18 | ProtocolVersion::V2025_11_25 => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_version_is_echoed_and_any_other_becomes_the_oldest() {
        for (row, offered, want) in [
            ("oldest", Some("2024-11-05"), "2024-11-05"),
            (
                "first with streamable HTTP",
                Some("2025-03-26"),
                "2025-03-26",
            ),
            ("first without batches", Some("2025-06-18"), "2025-06-18"),
            ("newest with sessions", Some("2025-11-25"), "2025-11-25"),
            (
                "stateless one is not claimed",
                Some("2026-07-28"),
                "2024-11-05",
            ),
            ("nonsense", Some("yes"), "2024-11-05"),
            ("absent", None, "2024-11-05"),
        ] {
            assert_eq!(ProtocolVersion::negotiate(offered).as_str(), want, "{row}");
        }
    }

    #[test]
    fn the_wire_form_is_the_name() {
        for v in ProtocolVersion::ALL {
            assert_eq!(serde_json::to_value(v).ok(), Some(v.as_str().into()));
        }
    }
}
