"""Molecules and what is known of them: SMILES, pools, tables of labels, what others published."""
