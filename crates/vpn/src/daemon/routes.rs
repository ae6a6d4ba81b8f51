//! The requests of a tunnel.

use crate::history::HistoryView;
use crate::state::{PeerPage, Reloaded, Upgrade, Upgraded, View};
use adit_service::control::http::{JSON, Method};
use adit_service::control::route::{PAGE, Route, SchemaOf, schema};
use adit_service::supervisor::routes::RELOAD;

/// The requests of a tunnel, beside those of every service.
pub const ROUTES: &[Route] = &[
    Route { reply: (JSON, schema::<Reloaded> as SchemaOf), ..RELOAD },
    Route::change(
        Method::Post,
        "/upgrade",
        "continues as the program that is installed now",
        Some(schema::<Upgrade>),
        schema::<Upgraded>,
    ),
    Route::get("/tunnel", "the tunnel with its peers", schema::<View>),
    Route::get(
        "/tunnel/history",
        "rate, latency and drops of the last hour",
        schema::<HistoryView>,
    ),
    Route::get("/tunnel/peers", "a page of the peers", schema::<PeerPage>).query(&[PAGE]),
];
