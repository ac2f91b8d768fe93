raise RuntimeError("a filter package is data: nothing may run this")
