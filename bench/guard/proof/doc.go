// Package proof shows what the ransomware guard is worth: it runs the guard
// and our own simulator on a volume of its own, compares every file with its
// original, and lets ordinary programs work under the guard's eyes.
//
// In: the built programs sonae-agent and encsim, an empty folder to mount on.
// Out: files lost and times for each run, or what the guard did to ordinary
// work. Always true: only volumes that the package itself mounted are watched
// and changed, and only processes that it started are ended. Needs root on
// Linux.
package proof
