//! Options for what is read by TCP.

use adit_service::error::Result;
use adit_service::metrics::ListenAddress;

/// Where metrics and the page are read by TCP.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Web {
    /// Serve the metrics by TCP as well, at 127.0.0.1 unless an address is given
    #[arg(long, value_name = "[ADDR:]PORT")]
    metrics: Option<ListenAddress>,
    /// Serve a page that shows the state in a browser, and the metrics beside it
    #[arg(long, value_name = "[ADDR:]PORT")]
    page: Option<ListenAddress>,
}

impl Web {
    /// The address for both, if one of them is wanted.
    pub(super) fn address(self) -> Result<Option<ListenAddress>> {
        ListenAddress::of_both(self.metrics, self.page)
    }
}
