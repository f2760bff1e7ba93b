//! Which pages of other origins a browser lets read the answers (Fetch standard, CORS protocol).

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};

use crate::settings::{
    fault::{Fault, Within as _},
    gateway::{host::host_name, route::method},
};

/// Entries of one list at most.
pub const ENTRIES_MAX: usize = 256;
/// No browser keeps a preflight's answer longer.
const AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// CORS as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CorsSpec {
    /// `https://app.example.com`, `https://*.example.com` for all names below, or `*` for all.
    pub origins: Vec<String>,
    /// GET, HEAD and POST unless said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Headers that a page may send besides the harmless ones, such as `authorization` or `content-type`; `*` is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// Headers of an answer that a page may read besides the harmless ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exposed: Vec<String>,
    /// A page may send its cookies along.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub credentials: bool,
    /// How long a browser may remember what it was told.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "10m"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
}

/// CORS, checked, as the values that are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    pub origins: Origins,
    pub methods: HeaderValue,
    pub headers: AllowedHeaders,
    pub exposed: Option<HeaderValue>,
    pub credentials: bool,
    pub max_age: Option<HeaderValue>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    All,
    These {
        /// Sorted.
        exact: Vec<String>,
        /// What an origin begins and ends with: `https://` and `.example.com`.
        below: Vec<(String, String)>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedHeaders {
    /// What the browser asks for.
    All,
    These(HeaderValue),
    None,
}

impl CorsSpec {
    pub(super) fn resolve(&self) -> Result<Cors, Fault> {
        for (key, list) in
            [("origins", &self.origins), ("methods", &self.methods), ("headers", &self.headers), ("exposed", &self.exposed)]
        {
            if list.len() > ENTRIES_MAX {
                return Err(Fault::at(key, format!("more than {ENTRIES_MAX}")));
            }
        }
        let origins = Origins::resolve(&self.origins).within("origins")?;
        if self.credentials && origins == Origins::All {
            return Err(Fault::at("credentials", "with origins `*`, every page on the web could act as its visitor"));
        }
        let headers = match self.headers.as_slice() {
            [] => AllowedHeaders::None,
            [all] if all == "*" => AllowedHeaders::All,
            names => AllowedHeaders::These(names_value(names).within("headers")?),
        };
        let exposed = (!self.exposed.is_empty()).then(|| names_value(&self.exposed).within("exposed")).transpose()?;
        if self.max_age.is_some_and(|age| age > AGE_MAX) {
            return Err(Fault::at("max_age", "must be at most 24h"));
        }
        Ok(Cors {
            origins,
            methods: self.resolve_methods()?,
            headers,
            exposed,
            credentials: self.credentials,
            max_age: self.max_age.map(|age| HeaderValue::from(age.as_secs())),
        })
    }

    fn resolve_methods(&self) -> Result<HeaderValue, Fault> {
        if self.methods.is_empty() {
            return Ok(HeaderValue::from_static("GET, HEAD, POST"));
        }
        let methods = self.methods.iter().enumerate().map(|(n, text)| method(text).within(n));
        let methods = methods.collect::<Result<Vec<_>, _>>().within("methods")?;
        joined(methods.iter().map(Method::as_str))
    }
}

impl Origins {
    fn resolve(texts: &[String]) -> Result<Self, Fault> {
        if texts.is_empty() {
            return Err(Fault::new("at least one is needed"));
        }
        let (mut exact, mut below) = (Vec::new(), Vec::new());
        for (n, text) in texts.iter().enumerate() {
            if text == "*" {
                if texts.len() > 1 {
                    return Err(Fault::new("`*` is all of them, so that it stands alone").within(n));
                }
                return Ok(Self::All);
            }
            let wrong =
                || Fault::new("must be https:// or http:// and a host, with a port or without, and nothing behind it").within(n);
            let (scheme, authority) = text.split_once("://").ok_or_else(wrong)?;
            if !matches!(scheme, "http" | "https") {
                return Err(wrong());
            }
            let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
            let port = match port {
                None => String::new(),
                // A browser leaves the default port out.
                Some(port) => match (port.parse::<u16>().map_err(|_| wrong())?, scheme) {
                    (0, _) => return Err(wrong()),
                    (443, "https") | (80, "http") => String::new(),
                    (port, _) => format!(":{port}"),
                },
            };
            match host.strip_prefix("*.") {
                Some(name) => {
                    let name = host_name(name).ok_or_else(wrong)?;
                    below.push((format!("{scheme}://"), format!(".{name}{port}")));
                }
                None => exact.push(format!("{scheme}://{}{port}", host_name(host).ok_or_else(wrong)?)),
            }
        }
        exact.sort_unstable();
        exact.dedup();
        Ok(Self::These { exact, below })
    }
}

fn names_value(names: &[String]) -> Result<HeaderValue, Fault> {
    let name = |(n, text): (usize, &String)| {
        let name = text.parse::<HeaderName>().ok().filter(|_| text != "*");
        name.ok_or_else(|| Fault::new(format!("`{text}` is not a header's name")).within(n))
    };
    let names = names.iter().enumerate().map(name).collect::<Result<Vec<_>, _>>()?;
    joined(names.iter().map(HeaderName::as_str))
}

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> Result<HeaderValue, Fault> {
    let words: Vec<_> = words.collect();
    HeaderValue::try_from(words.join(", ")).map_err(|_| Fault::new("cannot be said in a header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<Cors, String> {
        toml::from_str::<CorsSpec>(text).unwrap().resolve().map_err(|fault| fault.to_string())
    }

    #[test]
    fn cors_becomes_the_values_that_are_answered() {
        let cors = resolve(
            "origins = [\"https://App.example.com:443\", \"http://*.example.com:8080\"]\nmethods = [\"PUT\", \"GET\"]\n\
             headers = [\"X-A\", \"content-type\"]\nexposed = [\"X-Request-Id\"]\ncredentials = true\nmax_age = \"10m\"",
        );
        let cors = cors.unwrap();
        assert_eq!(
            cors.origins,
            Origins::These {
                exact: vec!["https://app.example.com".into()],
                below: vec![("http://".into(), ".example.com:8080".into())],
            }
        );
        assert_eq!((cors.methods.to_str().unwrap(), cors.max_age.unwrap().to_str().unwrap()), ("PUT, GET", "600"));
        assert_eq!(cors.headers, AllowedHeaders::These("x-a, content-type".parse().unwrap()));
        assert_eq!(cors.exposed.unwrap(), "x-request-id");
    }

    #[test]
    fn every_page_on_the_web_is_never_let_act_as_its_visitor() {
        assert_eq!(
            resolve("origins = [\"*\"]\ncredentials = true").unwrap_err(),
            "credentials: with origins `*`, every page on the web could act as its visitor"
        );
        assert!(resolve("origins = [\"*\"]").is_ok());
        assert!(resolve("origins = [\"*\", \"https://a.example\"]").is_err());
        for origin in ["null", "example.com", "https://", "https://a/b", "https://*", "https://a*.com", "ftp://a", "https://a:0"]
        {
            assert!(resolve(&format!("origins = [\"{origin}\"]")).is_err(), "{origin}");
        }
    }
}
