package main

func logits() {}
