//! `product.*`: products of a store.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Emission::Emitted, Time};

/// A product as it is after what happened.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Product {
    /// `prod_…`
    pub product_id: String,
    /// `store_…`
    pub store_id: String,
    /// The merchant's own number of it.
    pub sku: Option<String>,
    pub title: String,
    pub description: String,
    /// In millionths of the currency.
    pub price: i64,
    /// ISO 4217.
    pub currency: String,
    /// How many there are; null: they are not counted.
    pub quantity: Option<i64>,
    pub image_url: Option<String>,
    /// Whether it is on sale.
    pub active: bool,
    /// What else the merchant says of it.
    pub attributes: BTreeMap<String, String>,
    /// Counted up by every change.
    pub version: i64,
    pub updated_at: Time,
}

impl Product {
    fn example() -> Self {
        Self {
            product_id: "prod_1QjvzY8L2d0ZB9oU4hXwVg".into(),
            store_id: "store_1QjvzY8L2d0ZB9oU4hXwVf".into(),
            sku: Some("MUG-01".into()),
            title: "Mug".into(),
            description: "A mug of blue stoneware.".into(),
            price: 12_500_000,
            currency: "USD".into(),
            quantity: Some(40),
            image_url: None,
            active: true,
            attributes: BTreeMap::from([("colour".into(), "blue".into())]),
            version: 3,
            updated_at: Time(1_795_176_000_000),
        }
    }
}

events! {
    /// A product was put into a store.
    ProductCreated = "product.created" v 1; Emitted; of product.product_id; {
        #[serde(flatten)]
        product: Product = Product { version: 1, ..Product::example() },
    }

    /// A product was taken out of a store.
    ProductDeleted = "product.deleted" v 1; Emitted; of product.product_id; {
        #[serde(flatten)]
        product: Product = Product::example(),
    }

    /// A product was changed.
    ProductUpdated = "product.updated" v 1; Emitted; of product.product_id; {
        #[serde(flatten)]
        product: Product = Product::example(),
        /// The members of the product that were changed.
        changed: Vec<String> = vec!["price".into(), "quantity".into()],
    }
}
