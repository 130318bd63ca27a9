// Package browser drives a real Chromium for tests of pages: it presses, types
// and reads as a person does, and checks on every page what must hold on all.
//
// In: a hub's address and the certificate that it shows. Out: Visitor, one
// person before one browser, with the defects of the pages as errors of the
// test. Always true: a visitor trusts exactly that certificate; every request
// of the browser is counted, and one to another host fails the test; nothing is
// waited for by sleeping a fixed time. Needs Chromium and fonts for Japanese;
// everything else in this package has the build tag e2e.
package browser
