//! Products as values. No IO.

use std::collections::BTreeMap;

use clearway_config::{AccountId, ProductId, StoreId};

use crate::{audit::Changes, events};

/// Products of one store at most.
pub(super) const PRODUCTS_MAX: i64 = 100_000;
pub(super) const SKU_CHARS_MAX: usize = 64;
pub(super) const TITLE_CHARS_MAX: usize = 200;
pub(super) const DESCRIPTION_CHARS_MAX: usize = 5_000;
pub(super) const IMAGE_URL_CHARS_MAX: usize = 2_048;
/// Millionths: a thousand million of whatever it is.
pub(super) const PRICE_MAX: u64 = 1_000_000_000_000_000;
pub(super) const QUANTITY_MAX: u64 = 1_000_000_000;
pub(super) const ATTRIBUTES_MAX: usize = 32;
pub(super) const ATTRIBUTE_NAME_CHARS_MAX: usize = 64;
pub(super) const ATTRIBUTE_CHARS_MAX: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    pub id: ProductId,
    pub store_id: StoreId,
    pub account_id: AccountId,
    /// The merchant's own number of it; of one product of a store.
    pub sku: Option<String>,
    pub title: String,
    pub description: String,
    /// In millionths of the currency.
    pub price: i64,
    /// ISO 4217.
    pub currency: String,
    /// `None`: they are not counted.
    pub quantity: Option<i64>,
    pub image_url: Option<String>,
    /// Whether it is on sale.
    pub active: bool,
    pub attributes: BTreeMap<String, String>,
    /// Counts its changes, from 1.
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

/// What a product is made from.
#[derive(Debug, Clone)]
pub struct NewProduct {
    pub title: String,
    pub price: i64,
    /// What else is given; its title and price are not looked at.
    pub more: ProductUpdate,
}

/// `None` leaves a field as it is; `Some(None)` clears it.
#[derive(Debug, Clone, Default)]
pub struct ProductUpdate {
    pub sku: Option<Option<String>>,
    pub title: Option<String>,
    pub description: Option<String>,
    pub price: Option<i64>,
    pub currency: Option<String>,
    pub quantity: Option<Option<i64>>,
    pub image_url: Option<Option<String>>,
    pub active: Option<bool>,
    pub attributes: Option<BTreeMap<String, String>>,
}

impl ProductUpdate {
    pub(super) fn apply(self, old: &Product) -> Product {
        let old = old.clone();
        Product {
            sku: self.sku.unwrap_or(old.sku),
            title: self.title.unwrap_or(old.title),
            description: self.description.unwrap_or(old.description),
            price: self.price.unwrap_or(old.price),
            currency: self.currency.unwrap_or(old.currency),
            quantity: self.quantity.unwrap_or(old.quantity),
            image_url: self.image_url.unwrap_or(old.image_url),
            active: self.active.unwrap_or(old.active),
            attributes: self.attributes.unwrap_or(old.attributes),
            ..old
        }
    }
}

impl Product {
    /// What differs, for the audit log.
    pub(super) fn differences(&self, old: &Self) -> Changes {
        Changes::default()
            .field("sku", &old.sku, &self.sku)
            .field("title", &old.title, &self.title)
            .field("description", &old.description, &self.description)
            .field("price", old.price, self.price)
            .field("currency", &old.currency, &self.currency)
            .field("quantity", old.quantity, self.quantity)
            .field("image_url", &old.image_url, &self.image_url)
            .field("active", old.active, self.active)
            .field("attributes", &old.attributes, &self.attributes)
    }

    /// As events speak of it.
    pub(super) fn told(&self) -> events::Product {
        events::Product {
            product_id: self.id.to_string(),
            store_id: self.store_id.to_string(),
            sku: self.sku.clone(),
            title: self.title.clone(),
            description: self.description.clone(),
            price: self.price,
            currency: self.currency.clone(),
            quantity: self.quantity,
            image_url: self.image_url.clone(),
            active: self.active,
            attributes: self.attributes.clone(),
            version: self.version,
            updated_at: events::Time(self.updated_at),
        }
    }
}
