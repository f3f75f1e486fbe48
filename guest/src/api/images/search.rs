//! `GET /images/search`: what a registry finds for a term, and the filters that moby puts over it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use crate::api::auth;
use crate::api::error::ApiError;
use crate::api::filters::Filters;
use crate::api::query::Query;
use crate::api::reply;
use crate::engine::{Engine, EngineError};
use crate::image::Found;

const FILTERS: [&str; 3] = ["is-automated", "is-official", "stars"];

/// `GET /images/search`
pub(super) async fn search(
    State(engine): State<Arc<Engine>>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let limit = query.number::<i64>("limit").ok().map(|limit| limit.unwrap_or(0));
    let limit = limit.and_then(|limit| u32::try_from(limit).ok());
    let limit = limit.ok_or_else(|| ApiError::invalid("invalid limit specified"))?;
    let filters = Filters::of(&query, &FILTERS)?;
    let wish = Wish::of(&filters)?;
    if filters.flag("is-automated")? == Some(true) {
        return Ok(reply::json(StatusCode::OK, &Vec::<Found>::new()));
    }
    let term = query.text("term").unwrap_or_default();
    let found = engine.images().search(term, limit, &auth::sent_along(&headers)).await;
    let mut found = found.map_err(EngineError::from)?;
    found.retain(|found| wish.is_met(found));
    Ok(reply::json(StatusCode::OK, &found))
}

/// What a result has to be.
struct Wish {
    official: Option<bool>,
    stars: i64,
}

impl Wish {
    fn of(filters: &Filters) -> Result<Self, ApiError> {
        let mut stars = 0;
        for text in filters.values("stars") {
            let number: i64 = text.parse().map_err(|_| {
                let cause = format!("strconv.Atoi: parsing {text:?}: invalid syntax");
                ApiError::invalid(format!("invalid filter 'stars={text}': {cause}"))
            })?;
            stars = stars.max(number);
        }
        Ok(Self { official: filters.flag("is-official")?, stars })
    }

    fn is_met(&self, found: &Found) -> bool {
        self.official.is_none_or(|official| official == found.is_official) && found.star_count >= self.stars
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_to_meet_all_filters() {
        let filters = |text: &str| {
            let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
            Filters::of(&Query::parse(&format!("filters={encoded}")), &FILTERS).unwrap()
        };
        let wish = Wish::of(&filters(r#"{"is-official":["true"],"stars":["3","7"]}"#)).unwrap();
        let found = |stars, official| Found { star_count: stars, is_official: official, ..Found::default() };
        assert!(wish.is_met(&found(7, true)));
        assert!(!wish.is_met(&found(6, true)));
        assert!(!wish.is_met(&found(9, false)));
        let none = Wish::of(&filters("{}")).unwrap();
        assert!(none.is_met(&found(0, false)));
        assert!(Wish::of(&filters(r#"{"stars":["many"]}"#)).is_err());
    }
}
