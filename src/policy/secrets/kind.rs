//! Whose secret it is, and where it may stand without being one that leaks.

use crate::net::Host;

/// Closed set; the codes are metric labels and audit words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    OpenAi,
    Anthropic,
    OpenRouter,
    Groq,
    Xai,
    Replicate,
    HuggingFace,
    Civitai,
    GitHub,
    GitLab,
    Npm,
    PyPi,
    Aws,
    Google,
    Slack,
    Stripe,
    PrivateKey,
    Jwt,
    /// A string of the user's, from `secrets.own`.
    Own,
}

/// Where bytes stand in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// A header that carries the client's credential for this host.
    Credential,
    Header,
    /// Path or query.
    Target,
    Body,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::OpenAi => "openai",
            Kind::Anthropic => "anthropic",
            Kind::OpenRouter => "openrouter",
            Kind::Groq => "groq",
            Kind::Xai => "xai",
            Kind::Replicate => "replicate",
            Kind::HuggingFace => "huggingface",
            Kind::Civitai => "civitai",
            Kind::GitHub => "github",
            Kind::GitLab => "gitlab",
            Kind::Npm => "npm",
            Kind::PyPi => "pypi",
            Kind::Aws => "aws",
            Kind::Google => "google",
            Kind::Slack => "slack",
            Kind::Stripe => "stripe",
            Kind::PrivateKey => "private_key",
            Kind::Jwt => "jwt",
            Kind::Own => "own",
        }
    }

    /// Domains of the maker, names below them included: where the token is meant to go.
    fn home(self) -> &'static [&'static str] {
        match self {
            Kind::OpenAi => &["openai.com"],
            Kind::Anthropic => &["anthropic.com"],
            Kind::OpenRouter => &["openrouter.ai"],
            Kind::Groq => &["groq.com"],
            Kind::Xai => &["x.ai"],
            Kind::Replicate => &["replicate.com"],
            Kind::HuggingFace => &["huggingface.co", "hf.co"],
            Kind::Civitai => &["civitai.com", "civitai.red"],
            Kind::GitHub => &["github.com", "githubusercontent.com"],
            Kind::GitLab => &["gitlab.com"],
            Kind::Npm => &["npmjs.org"],
            Kind::PyPi => &["pypi.org"],
            Kind::Google => &["googleapis.com"],
            Kind::Slack => &["slack.com"],
            Kind::Stripe => &["stripe.com"],
            // Anyone can have a name below amazonaws.com.
            Kind::Aws | Kind::PrivateKey | Kind::Jwt | Kind::Own => &[],
        }
    }

    /// True where a client shows its own credential to the one who gave it. Bodies are never home:
    /// what stands in a body may be published there.
    pub fn is_at_home(self, spot: Spot, host: &Host) -> bool {
        match (self, spot) {
            (_, Spot::Body) => false,
            // Opaque to us, and nearly always issued by the host that it is sent to.
            (Kind::Jwt, Spot::Credential) => true,
            (_, Spot::Credential | Spot::Header | Spot::Target) => {
                let Host::Name(name) = host else {
                    return false;
                };
                self.home().iter().any(|home| {
                    name.strip_suffix(home)
                        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                })
            }
        }
    }
}
