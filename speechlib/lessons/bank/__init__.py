"""The wrong-answer bank: for each lesson the cases, the references and the known mistakes."""
