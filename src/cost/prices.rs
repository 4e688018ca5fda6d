//! Prices of providers for a bucket: one table of list prices, and the sum for a month's use. Prices change and
//! differ by region; [`AS_OF`] says how old these are.

use serde::Serialize;

/// When the table was last checked against the providers' price lists.
pub const AS_OF: &str = "November 2026";

const GIGABYTE: f64 = 1e9;
const GIBIBYTE: f64 = (1u64 << 30) as f64;

/// A provider's list prices in US dollars. Deletes are free at all of them.
#[derive(Debug, Clone, Copy)]
pub struct Prices {
    /// Provider, class of storage and region.
    pub name: &'static str,
    /// Bytes of the provider's gigabyte.
    gigabyte: f64,
    /// A gigabyte kept for a month.
    storage: f64,
    /// A thousand writes, copies and listings.
    writes: f64,
    /// A thousand reads.
    reads: f64,
    /// A gigabyte sent to a machine outside the provider's region.
    sent_out: f64,
    /// The free allowance of a month.
    free: Free,
}

/// The free allowance of each month.
#[derive(Debug, Clone, Copy)]
struct Free {
    gigabytes: f64,
    writes: f64,
    reads: f64,
    gigabytes_out: f64,
}

const NOTHING_FREE: Free = Free { gigabytes: 0.0, writes: 0.0, reads: 0.0, gigabytes_out: 0.0 };
const HUNDRED_OUT: Free = Free { gigabytes_out: 100.0, ..NOTHING_FREE };

/// The table.
#[rustfmt::skip]
pub const TABLE: [Prices; 5] = [
    Prices { name: "Amazon S3 Standard, us-east-1", gigabyte: GIBIBYTE,
        storage: 0.023, writes: 0.005, reads: 0.0004, sent_out: 0.09, free: HUNDRED_OUT },
    Prices { name: "Cloudflare R2 Standard", gigabyte: GIGABYTE,
        storage: 0.015, writes: 0.0045, reads: 0.00036, sent_out: 0.0,
        free: Free { gigabytes: 10.0, writes: 1e6, reads: 1e7, gigabytes_out: 0.0 } },
    Prices { name: "Google Cloud Storage Standard, us-east1", gigabyte: GIBIBYTE,
        storage: 0.020, writes: 0.005, reads: 0.0004, sent_out: 0.12, free: NOTHING_FREE },
    Prices { name: "Azure Blob Hot LRS, East US", gigabyte: GIBIBYTE,
        storage: 0.018, writes: 0.005, reads: 0.0004, sent_out: 0.087, free: HUNDRED_OUT },
    Prices { name: "Tigris Standard", gigabyte: GIGABYTE,
        storage: 0.020, writes: 0.005, reads: 0.0005, sent_out: 0.0,
        free: Free { gigabytes: 5.0, writes: 1e4, reads: 1e5, gigabytes_out: 0.0 } },
];

/// The use of a month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Month {
    /// Bytes kept.
    pub stored_bytes: f64,
    /// Requests that write, copy or list.
    pub writes: f64,
    /// Requests that read.
    pub reads: f64,
    /// Bytes that the bucket sends.
    pub received_bytes: f64,
}

/// US dollars a month.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bill {
    /// The provider.
    pub provider: &'static str,
    /// For stored bytes.
    pub storage: f64,
    /// For requests that write, copy or list.
    pub writes: f64,
    /// For requests that read.
    pub reads: f64,
    /// The three together.
    pub total: f64,
    /// In addition, if the server runs outside the provider's region.
    pub sent_out: f64,
}

impl Prices {
    /// The bill of a month at this provider.
    pub fn bill(&self, month: &Month) -> Bill {
        let beyond = |used: f64, free: f64| (used - free).max(0.0);
        let free = &self.free;
        let storage = beyond(month.stored_bytes / self.gigabyte, free.gigabytes) * self.storage;
        let writes = beyond(month.writes, free.writes) / 1e3 * self.writes;
        let reads = beyond(month.reads, free.reads) / 1e3 * self.reads;
        let sent_out = beyond(month.received_bytes / self.gigabyte, free.gigabytes_out) * self.sent_out;
        Bill { provider: self.name, storage, writes, reads, total: storage + writes + reads, sent_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(name: &str) -> Prices {
        TABLE.into_iter().find(|prices| prices.name.contains(name)).unwrap()
    }

    #[test]
    fn a_month_at_amazon_costs_what_its_price_list_says() {
        // 200 GiB; an add a second; 150 GiB read by servers elsewhere.
        let month = Month {
            stored_bytes: 200.0 * GIBIBYTE,
            writes: 2_628_000.0,
            reads: 100_000.0,
            received_bytes: 150.0 * GIBIBYTE,
        };
        let bill = provider("Amazon").bill(&month);
        assert!((bill.storage - 4.60).abs() < 1e-9 && (bill.writes - 13.14).abs() < 1e-9, "{bill:?}");
        assert!((bill.reads - 0.04).abs() < 1e-9 && (bill.total - 17.78).abs() < 1e-9, "{bill:?}");
        assert!((bill.sent_out - 4.50).abs() < 1e-9, "{bill:?}");
    }

    #[test]
    fn what_is_free_is_not_charged_and_never_below_nothing() {
        let little = Month { stored_bytes: 9.9e9, writes: 999_999.0, reads: 9_999_999.0, received_bytes: 5e12 };
        let bill = provider("R2").bill(&little);
        assert_eq!((bill.total, bill.sent_out), (0.0, 0.0));
        let more = Month { stored_bytes: 11e9, writes: 2e6, ..little };
        let bill = provider("R2").bill(&more);
        assert!((bill.storage - 0.015).abs() < 1e-9 && (bill.writes - 4.5).abs() < 1e-9, "{bill:?}");
    }
}
