"""The marginalized graph kernel: features of molecules, microkernels, and the solver of pairs."""
