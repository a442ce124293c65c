//! The permit of a request as operations take it, and what the document says of tokens.

use super::Permit;
use crate::error::SCHEME;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

/// What the scheme is called in the document.
const NAME: &str = "bearer";

/// What whoever sent the request may do. Admission has looked at the token already.
#[derive(Debug)]
pub(crate) struct Permitted(pub(crate) Permit);

impl<'a> ApiExtractor<'a> for Permitted {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        let scheme = MetaSecurityScheme {
            ty: "http",
            description: Some("A token; a server that was started without `--tokens` asks for none."),
            name: None,
            key_in: None,
            scheme: Some(SCHEME),
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        };
        registry.create_security_scheme(NAME, scheme);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![NAME]
    }

    /// Whether a token is asked for is the server's setting.
    fn has_security_fallback() -> bool {
        true
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        // Without one there is no right to anything.
        Ok(Self(request.data::<Permit>().cloned().unwrap_or_default()))
    }
}
