//! The language as a whole: configurations in, values and findings out.

mod article;
mod bounds;
mod etcd;
mod findings;
mod network;
mod networks;
mod rendering;
mod support;
mod values;
mod variables;
