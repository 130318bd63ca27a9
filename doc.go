// Package sonae holds no code: the product is the tree below it, see
// ARCHITECTURE.md. The tests here check that the tree is still the picture.
package sonae
