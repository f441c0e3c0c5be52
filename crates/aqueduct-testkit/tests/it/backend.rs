mod client;
mod fate;
mod keys;
mod life;
mod outages;
mod quota;
mod routes;
