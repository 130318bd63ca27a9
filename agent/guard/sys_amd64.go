package guard

const sysOpen = 2 // open(2), which newer architectures have not
