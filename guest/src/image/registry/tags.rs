//! All tags of a repository (OCI distribution-spec, "Listing Tags"), page by page.

use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::RegistryError;
use super::content::Content;
use super::session::{Request, Session};

/// Bytes of one page.
const LONGEST_PAGE: usize = 4 << 20;
/// More than any repository has; a registry that goes on is not believed.
const MOST_TAGS: usize = 100_000;

impl Session {
    /// All tags, in the registry's order.
    pub(crate) async fn tags(&self) -> Result<Vec<String>, RegistryError> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let wrong = |what: &str| RegistryError::Protocol { registry: self.name(), what: what.to_owned() };
        let mut tags = Vec::new();
        let mut url = self.url("tags/list");
        loop {
            let (headers, content) = (HeaderMap::new(), Content::Nothing);
            let request = Request { method: Method::GET, url: url.clone(), headers, content };
            let response = self.request(request).await?;
            let next = response.headers().get(LINK).and_then(|value| next_page(&url, value.to_str().ok()?));
            let page = self.read(response, LONGEST_PAGE, "its list of tags").await?;
            let page: Page =
                serde_json::from_slice(&page.bytes).map_err(|_| wrong("its list of tags is none"))?;
            let page = page.tags.unwrap_or_default();
            let is_empty = page.is_empty();
            tags.extend(page);
            if tags.len() > MOST_TAGS {
                return Err(wrong("its list of tags has no end"));
            }
            match next {
                Some(next) if !is_empty => url = next,
                _ => return Ok(tags),
            }
        }
    }
}

/// The target of `<…>; rel="next"`. It stays at the registry: another one has no business with our questions.
fn next_page(url: &Url, link: &str) -> Option<Url> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let next = url.join(target).ok()?;
    (parameters.contains("next") && next.origin() == url.origin()).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_at_the_same_registry() {
        let url = Url::parse("https://registry.example/v2/app/tags/list").unwrap();
        let next = |link: &str| next_page(&url, link).map(|url| url.to_string());
        assert_eq!(
            next("</v2/app/tags/list?last=b&n=2>; rel=\"next\"").unwrap(),
            "https://registry.example/v2/app/tags/list?last=b&n=2"
        );
        assert_eq!(next("<https://elsewhere.example/v2/>; rel=\"next\""), None);
        assert_eq!((next("</v2/>; rel=\"prev\""), next("nonsense")), (None, None));
    }
}
