module github.com/sonae/sonae/bench/detect

go 1.26.0
