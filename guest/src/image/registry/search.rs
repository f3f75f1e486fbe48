//! The search of the first registry API, which Docker Hub still answers.

use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::connection::{Ask, protocol};
use super::login::basic;
use super::session::read_bounded;
use super::{Connection, Endpoint, RegistryError};
use crate::image::settings::RegistryAuth;

/// Bytes of the largest answer that is read.
const LONGEST: usize = 4 << 20;

/// Asks one endpoint. Returns the status and the body.
pub(crate) async fn search(
    connection: &Arc<Connection>,
    endpoint: &Endpoint,
    name: &str,
    limit: u32,
    auth: &RegistryAuth,
) -> Result<(u16, Vec<u8>), RegistryError> {
    let mut url = endpoint.base.clone();
    url.set_path("/v1/search");
    url.query_pairs_mut().append_pair("q", name).append_pair("n", &limit.to_string());
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("x-docker-token"), HeaderValue::from_static("true"));
    // Nothing has asked for the password, so it goes nowhere in the open.
    if let RegistryAuth::Basic { username, password } = auth
        && url.scheme() == "https"
        && !endpoint.lenient
    {
        headers.insert(AUTHORIZATION, basic(username, password)?);
    }
    let mut response = connection.send(Ask::get(&url, headers, endpoint)).await?;
    let status = response.status().as_u16();
    let body = read_bounded(&mut response, LONGEST, connection.patience.silence).await;
    Ok((status, body.map_err(|_| protocol(&url, "its answer to a search does not come to its end"))?))
}
