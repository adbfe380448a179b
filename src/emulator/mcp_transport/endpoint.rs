//! Which path is which server and transport.

/// The plugin's two MCP servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// `/mcp-server/mcp` of the vendor.
    Copilot,
    /// `/8c9fe550938e4f/sse` of ModelScope: the vendor's web search.
    Search,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint<'a> {
    /// GET opens a legacy stream; POST, GET and DELETE are streamable HTTP.
    Connect {
        server: Server,
        /// What the message path stands under.
        base: &'a str,
    },
    /// POST of the legacy transport.
    Messages { server: Server },
}

const COPILOT_BASE: &str = "/mcp-server";
const MAX_PATH: usize = 256;

impl<'a> Endpoint<'a> {
    /// `None` for a path that is neither. The path goes back to the client in the endpoint event,
    /// so only plain segments pass: `//host/sse` would name another authority.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let trimmed = path.strip_suffix('/').unwrap_or(path);
        let is_plain = trimmed.len() <= MAX_PATH
            && trimmed.strip_prefix('/')?.split('/').all(|segment| {
                !segment.is_empty()
                    && !segment.starts_with('.')
                    && segment
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
            });
        if !is_plain {
            return None;
        }
        let (base, last) = trimmed.rsplit_once('/')?;
        match last {
            "mcp" if base == COPILOT_BASE => Some(Endpoint::Connect {
                server: Server::Copilot,
                base,
            }),
            "sse" => Some(Endpoint::Connect {
                server: Server::Search,
                base,
            }),
            "messages" if base == COPILOT_BASE => Some(Endpoint::Messages {
                server: Server::Copilot,
            }),
            "messages" => Some(Endpoint::Messages {
                server: Server::Search,
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        let connect = |server, base| Some(Endpoint::Connect { server, base });
        for (row, path, want) in [
            (
                "the vendor's",
                "/mcp-server/mcp",
                connect(Server::Copilot, "/mcp-server"),
            ),
            (
                "with a slash",
                "/mcp-server/mcp/",
                connect(Server::Copilot, "/mcp-server"),
            ),
            (
                "the search",
                "/8c9fe550938e4f/sse",
                connect(Server::Search, "/8c9fe550938e4f"),
            ),
            ("a bare sse", "/sse", connect(Server::Search, "")),
            (
                "messages of the vendor's",
                "/mcp-server/messages/",
                Some(Endpoint::Messages {
                    server: Server::Copilot,
                }),
            ),
            (
                "messages of the search",
                "/8c9fe550938e4f/messages/",
                Some(Endpoint::Messages {
                    server: Server::Search,
                }),
            ),
            (
                "messages of a bare sse",
                "/messages",
                Some(Endpoint::Messages {
                    server: Server::Search,
                }),
            ),
            ("another authority", "//evil.example/sse", None),
            ("an empty segment", "/a//sse", None),
            ("a step up", "/a/../sse", None),
            ("an escape", "/%2f%2fevil/sse", None),
            ("another mcp", "/other/mcp", None),
            ("the root", "/", None),
            ("no slash", "sse", None),
        ] {
            assert_eq!(Endpoint::of(path), want, "{row}");
        }
        assert_eq!(Endpoint::of(&format!("/{}/sse", "a".repeat(300))), None);
    }
}
