module github.com/sonae/sonae/bench/sensor

go 1.26.0

require github.com/sonae/sonae v0.0.0

replace github.com/sonae/sonae => ../..
