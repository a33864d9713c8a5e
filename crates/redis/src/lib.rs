//! The one Redis/Valkey connector of statehouse: single, Sentinel and Cluster.
